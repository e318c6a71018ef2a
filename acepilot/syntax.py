"""Parse around the cursor with tree-sitter, for the filters: blocks, syntax errors, embedded languages.

Only a window around the cursor is parsed, so that no document is too large. Every text gets an answer: broken
code, binary data and lone surrogates too. Offsets are in characters, not bytes.
"""

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from acepilot.languages import LANGUAGES, Language, parser_for

if TYPE_CHECKING:
    from tree_sitter import Node

WINDOW_CHARS = 10_000
"""Characters parsed on either side of the cursor: about 250 lines, which take 4 ms in TypeScript."""

MAX_PARSE_CPU_S = 0.1
"""Processor seconds to parse a window. Code takes a tenth of it; hostile text may take minutes."""

MAX_BLOCKS = 200
"""Blocks around the cursor that are looked at, from the innermost one outwards. No real code has more."""

MAX_PARSES = 12
"""Lines removed by `longest_valid_prefix`, each with a parse: about 50 ms in all."""

EMBEDDED_CHARS = 100_000
"""Characters above the cursor in which a `<script>` or `<style>` is looked for: some 2,500 lines."""

# Names of blocks in the grammars: block, statement_block, compound_statement, class_body, do_block ...
_BLOCK = re.compile(
    r"block|body|group|compound_statement|_list|method|function|do_statement|if|while|for|case|ERROR"
)


@dataclass(frozen=True)
class Embedded:
    """The `<script>` or `<style>` around the cursor; its content begins at `start` in the prefix."""

    tag: str
    language: Language
    start: int


@dataclass(frozen=True)
class Block:
    """A block around the cursor. Offsets are in the parsed text; the last token starts at `closer`."""

    kind: str
    start: int
    end: int
    closer: int
    broken: bool


def window(prefix: str, suffix: str) -> tuple[str, str]:
    """Return up to WINDOW_CHARS above the cursor, in whole lines if possible, and below it."""
    before = prefix[-WINDOW_CHARS:]
    if len(prefix) > WINDOW_CHARS:
        before = before[before.find("\n") + 1 :]
    return before, suffix[:WINDOW_CHARS]


def parse(code: str, language: Language, max_cpu_s: float = inf) -> "Node | None":
    """Return the root of the syntax tree; None if the language has no grammar or the time runs out."""
    data = _encode(code)
    parser = parser_for(language)
    if parser is None:
        return None
    end = time.thread_time() + max_cpu_s

    def is_late(offset: int, has_error: bool) -> bool:  # called often, so that other threads run too
        return time.thread_time() > end

    try:
        return parser.parse(lambda offset, _: data[offset:], progress_callback=is_late).root_node
    except ValueError:  # `is_late` ended it
        parser.reset()
        return None


def parses(code: str, language: Language) -> bool:
    """Return True if `code` has no syntax error; False also if the language has no grammar."""
    root = parse(code, language)
    return root is not None and not root.has_error


def enclosing_blocks(prefix: str, suffix: str, language: Language, text: str = "") -> tuple[Block, ...]:
    """Return the blocks around the cursor, and the ERROR nodes of the parser, innermost first.

    `text` is inserted at the cursor before parsing.
    """
    before, after = window(prefix, suffix)
    code = before + text + after
    root = parse(code, language, MAX_PARSE_CPU_S)
    if root is None:
        return ()
    data, at = _encode(code), len(_encode(before))
    is_ascii = len(data) == len(code)

    def chars(offset: int) -> int:
        return offset if is_ascii else len(data[:offset].decode("utf-8", "replace"))

    found: deque[Node] = deque(maxlen=MAX_BLOCKS)
    innermost = root.descendant_for_byte_range(at, at)
    node: Node | None = root if innermost else None
    while node and innermost:  # downwards: tree-sitter searches for each node's parent from the root
        if (node != root or node.is_error) and node.start_byte < at and _BLOCK.search(node.type):
            found.append(node)
        node = node.child_with_descendant(innermost) if node != innermost else None
    return tuple(_block(node, chars) for node in reversed(found))


def longest_valid_prefix(prefix: str, text: str, suffix: str, language: Language) -> int:
    """Return the length of the most lines of `text`, from its start, that add no syntax error; 0 if none.

    At most MAX_PARSES times a line is removed from the end; each try takes a parse.
    """
    before, after = window(prefix, suffix)
    root = parse(before + after, language, MAX_PARSE_CPU_S)
    allowed = _errors(root)
    end = len(text)
    for _ in range(MAX_PARSES):
        if end <= 0:
            break
        if root is None or _errors(parse(before + text[:end] + after, language, MAX_PARSE_CPU_S)) <= allowed:
            return end
        end = text.rfind("\n", 0, end)
    return 0


_OPEN_TAG = re.compile(r"<(?:script|style)(?=[\s/>])((?:\"[^\"]*\"|'[^']*'|[^'\"<>])*)(>?)")
_LANG = re.compile(r"\b(?:lang|type)\s*=\s*[\"']?([\w/+-]+)")
_BY_LANG = {
    "ts": "typescript",
    "tsx": "typescriptreact",
    "jsx": "javascriptreact",
    "scss": "scss",
    "sass": "plaintext",
    "stylus": "plaintext",
    "less": "scss",
    "postcss": "css",
    "json": "json",
    "application/json": "json",
    "application/ld+json": "json",
    "importmap": "json",
}


def embedded_at(prefix: str, language: Language) -> Embedded | None:
    """Return the `<script>` or `<style>` around the cursor; None outside of them.

    It is searched as text, because an unfinished attribute above makes a parser lose the block.
    """
    if language.id not in ("vue", "html", "svelte"):
        return None
    offset = max(len(prefix) - EMBEDDED_CHARS, 0)
    for tag in ("script", "style"):
        closed, opened = prefix.rfind(f"</{tag}", offset), len(prefix)
        while (opened := prefix.rfind(f"<{tag}", max(closed, offset), opened)) >= 0:
            match = _OPEN_TAG.match(prefix, opened)
            if match is None or match.group(1).endswith("/"):
                continue  # <style-guide> or <script src="./app.ts" />: an earlier tag may be open
            if not match.group(2):
                break  # the cursor is still inside the opening tag
            lang = _LANG.search(match.group(1))
            default = "javascript" if tag == "script" else "css"
            name = _BY_LANG.get(lang.group(1), default) if lang else default
            return Embedded(tag, LANGUAGES[name], match.end())
    return None


def _block(node: "Node", chars: Callable[[int], int]) -> Block:
    last = node.child(node.child_count - 1) if node.child_count else None
    closer = last.start_byte if last is not None and not last.is_named else node.end_byte
    return Block(node.type, chars(node.start_byte), chars(node.end_byte), chars(closer), node.has_error)


def _errors(root: "Node | None") -> int:
    """Return the number of ERROR and missing nodes in the tree."""
    count, todo = 0, [root] if root else []
    while todo:
        node = todo.pop()
        if node.has_error:  # branches without errors are skipped
            count += node.is_error or node.is_missing
            todo.extend(node.children)
    return count


def _encode(code: str) -> bytes:
    return code.encode("utf-8", "replace")
