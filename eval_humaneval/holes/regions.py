"""Step 2 of hole filling: split a file into regions of one language, and walk the syntax tree of each.

Only Vue files have several regions. Grammars use similar names for their nodes, so patterns on the names
serve all languages. A node that they miss costs a few holes, and never makes a wrong one: `cut` tests each.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from tree_sitter import Node

from acepilot.languages import Language
from acepilot.syntax import embedded_at, parse
from eval_humaneval.holes.sources import NOT_CODE

_VUE = {"template_element": "template", "script_element": "script", "style_element": "style"}
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
_MARKUP_VALUES = (("attribute_value", "directive_attribute"), ("raw_text", "interpolation"))


@dataclass(frozen=True)
class Region:
    """`text[start:end]` of a file is code in `language`."""

    start: int
    end: int
    language: Language
    block: str
    tree: "SyntaxTree"


def regions_of(text: str, language: Language) -> list[Region]:
    """Return the whole file, or those blocks of a Vue component for which there is a grammar."""
    if language.id != "vue":
        return _region(text, 0, len(text), language, "")
    root = parse(text, language)
    data = text.encode()
    found: list[Region] = []
    for node in root.children if root else ():
        block = _VUE.get(node.type)
        if block == "template" and b"lang=" not in (node.children[0].text or b""):  # not Pug
            found += _region(text, *_span(data, node), language, block)
        elif block in ("script", "style"):
            for content in node.children:
                start, end = _span(data, content)
                embedded = embedded_at(text[:start], language) if content.type == "raw_text" else None
                if embedded:
                    found += _region(text, start, end, embedded.language, block)
    return found


def _region(text: str, start: int, end: int, language: Language, block: str) -> list[Region]:
    root = None if language.id in NOT_CODE else parse(text[start:end], language)
    return [Region(start, end, language, block, SyntaxTree(root, text[start:end], language))] if root else []


def _span(data: bytes, node: Node) -> tuple[int, int]:
    """Return where `node` starts and ends, in characters."""
    return len(data[: node.start_byte].decode()), len(data[: node.end_byte].decode())


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
        if self._markup:
            above = node.parent.parent if node.type == "attribute_value" and node.parent else node.parent
            held = above and (node.type, above.type) in _MARKUP_VALUES
            return self._span(node, node) if held else None
        if self._style and node.type == "declaration":
            parts = [child for child in node.children if child.is_named]
            return self._span(parts[1], parts[-1]) if len(parts) > 1 else None
        return self._span(node, node) if node.is_named and _EXPRESSION.search(node.type) else None


def _is_excluded_node(node: Node) -> bool:
    reexports = node.type == "export_statement" and node.child_by_field_name("source")
    if reexports or _EXCLUDED.search(node.type):
        return True
    docstring = node.parent is not None and node.parent.type == "expression_statement"
    return bool(_TEXT.search(node.type)) and (docstring or node.start_point.row < node.end_point.row)
