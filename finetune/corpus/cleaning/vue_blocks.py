"""Build, step 7: find the blocks of a Vue single-file component, each with its kind and span.

Tree-sitter finds the top-level blocks. The document stays one text, because editors complete components as
one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tree_sitter import Node

from acepilot.languages import LANGUAGES, Language
from acepilot.syntax import parse

PARSE_CPU_S = 10.0
"""CPU seconds for the parses of one file; see parse_times.py."""
BlockType = Literal["template", "script", "style", "custom"]
_TYPES: dict[str, BlockType] = {
    "template_element": "template",
    "script_element": "script",
    "style_element": "style",
}
_DEFAULT_LANG: dict[BlockType, str] = {"template": "html", "script": "js", "style": "css", "custom": ""}
_LANGUAGES = {
    "js": "javascript",
    "ts": "typescript",
    "jsx": "javascriptreact",
    "tsx": "typescriptreact",
    "css": "css",
    "postcss": "css",
    "scss": "scss",
    "html": "html",
}


@dataclass(frozen=True)
class Block:
    """A top-level block. `start` and `end` are character offsets of its content, without its tags.

    `lang` is the tag's attribute or the default; `setup` and `scoped` are the tag's flags.
    """

    type: BlockType
    lang: str
    setup: bool
    scoped: bool
    start: int
    end: int

    @property
    def language(self) -> Language | None:
        """The language of the content; None for pug, stylus and others without a grammar here."""
        name = _LANGUAGES.get(self.lang)
        return LANGUAGES[name] if name else None


def blocks_of(component: str) -> list[Block]:
    """Return all top-level blocks in order, with custom ones such as `<i18n>`; none if it takes too long."""
    root = parse(component, LANGUAGES["vue"], PARSE_CPU_S)
    return blocks_below(root, component) if root else []


def blocks_below(root: Node, component: str) -> list[Block]:
    """Return the top-level blocks of a component whose syntax tree has this root."""
    position = _positions(component.encode("utf-8", "replace"))
    return [block for node in root.children if (block := _block(node, position)) is not None]


def _positions(data: bytes) -> Callable[[int], int]:
    """Return a function from byte offsets to character offsets. Ascending calls read `data` once in all."""
    at_byte = at_character = 0

    def position(byte: int) -> int:
        nonlocal at_byte, at_character
        if byte < at_byte:
            at_byte = at_character = 0
        at_character += len(data[at_byte:byte].decode("utf-8", "replace"))
        at_byte = byte
        return at_character

    return position


def _block(node: Node, position: Callable[[int], int]) -> Block | None:
    start_tag = next((child for child in node.children if child.type == "start_tag"), None)
    if start_tag is None or node.type not in (*_TYPES, "element"):
        return None
    end_tag = next((child for child in reversed(node.children) if child.type == "end_tag"), None)
    block_type = _TYPES.get(node.type, "custom")
    attributes = _attributes(start_tag)
    return Block(
        type=block_type,
        lang=attributes.get("lang") or _DEFAULT_LANG[block_type],
        setup="setup" in attributes,
        scoped="scoped" in attributes,
        start=position(start_tag.end_byte),
        end=position(end_tag.start_byte if end_tag else node.end_byte),
    )


def _attributes(tag: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for attribute in tag.children:
        if attribute.type == "attribute" and attribute.text:
            name, _, value = attribute.text.decode("utf-8", "replace").partition("=")
            found[name.strip()] = value.strip().strip("\"'")
    return found
