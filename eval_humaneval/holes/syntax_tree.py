"""The syntax tree of a region, walked once, for step 3 of hole filling.

Grammars use similar names for their nodes, so patterns on the names serve all languages. A node that they
miss costs a few holes, and never makes a wrong one, because `cut` tests each hole.
"""

import re
from bisect import bisect_left
from itertools import accumulate

from tree_sitter import Node

from acepilot.languages import Language

_EXCLUDED = re.compile(
    r"comment|import_|preproc_include|using_directive|use_declaration|^package_|extern_crate|raw_text"
    r"|^export_clause$|^ERROR$"
)
_TEXT = re.compile(r"string|heredoc|template_literal")
_EXPRESSION = re.compile(
    r"(?<!parenthesized_)expression$|call$|invocation$|_operator$|^attribute$|subscript|reference$|access$|lambda"
    r"|closure|comprehension|conditional|ternary|await|^(array|object|dictionary|list|tuple|hash|binary)$"
    r"|composite_literal|object_creation|navigation"
)
_NO_BLOCK = re.compile(r"parameter|import|string|comment|tag$|attribute_value|ERROR")
_STYLES = ("css", "scss")


class SyntaxTree:
    """Offsets are characters of `code`. Holes must not touch excluded code: comments, imports, multi-line
    strings and syntax errors."""

    def __init__(self, root: Node, code: str, language: Language) -> None:
        self._root = root
        self._markup = language.block_style == "tags"
        self._style = language.id in _STYLES
        self._bytes = [0, *accumulate(len(char.encode("utf-8", "replace")) for char in code)]
        self._excluded = bytearray(len(code))
        values: set[tuple[int, int]] = set()
        todo = [root]
        while todo:
            node = todo.pop()
            if value := self._value(node):
                start, end = value
                text = code[start:end]
                start += len(text) - len(text.lstrip())
                values.add((start, start + len(text.strip())))
            elif _is_excluded_node(node):
                start, end = self._span(node, node)
                self._excluded[start:end] = b"\1" * (end - start)
                continue
            todo.extend(node.children)
        self._values = sorted(values)

    def is_excluded(self, start: int, end: int) -> bool:
        return self._excluded.find(1, start, end) >= 0

    def values_within(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the expressions that lie completely in `start:end`; they may be nested."""
        first = bisect_left(self._values, (start, start))
        last = bisect_left(self._values, (end, end))
        return [span for span in self._values[first:last] if span[1] <= end]

    def is_content(self, start: int, end: int) -> bool:
        """Return True if `start:end` consists of whole children of one node."""
        node = self._root.descendant_for_byte_range(self._bytes[start], self._bytes[end])
        if node is None or node.has_error or _NO_BLOCK.search(node.type):
            return False
        parts = [self._span(child, child) for child in node.children]
        return all(to <= start or end <= at or (start <= at and to <= end) for at, to in parts)

    def _span(self, first: Node, last: Node) -> tuple[int, int]:
        return bisect_left(self._bytes, first.start_byte), bisect_left(self._bytes, last.end_byte)

    def _value(self, node: Node) -> tuple[int, int] | None:
        """Return the span of the expression that `node` is or holds: in a style a property's value, in a
        template a directive's value or the content of `{{ }}`, elsewhere the node itself."""
        above = node.parent
        if self._markup:
            name = above.type if above else ""
            if node.type == "attribute_value" and above and above.parent:
                name = above.parent.type
            held = (node.type, name) in (
                ("attribute_value", "directive_attribute"),
                ("raw_text", "interpolation"),
            )
            return self._span(node, node) if held else None
        if self._style and node.type == "declaration":
            parts = [child for child in node.children if child.is_named]
            return self._span(parts[1], parts[-1]) if len(parts) > 1 else None
        return self._span(node, node) if node.is_named and _EXPRESSION.search(node.type) else None


def _is_excluded_node(node: Node) -> bool:
    if _EXCLUDED.search(node.type) or (
        node.type == "export_statement" and node.child_by_field_name("source")
    ):
        return True
    docstring = node.parent is not None and node.parent.type == "expression_statement"
    return bool(_TEXT.search(node.type)) and (docstring or node.start_point.row < node.end_point.row)
