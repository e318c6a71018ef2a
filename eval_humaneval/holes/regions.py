"""Step 2 of hole filling: split a file into regions of one language. Only Vue files have several."""

from dataclasses import dataclass

from tree_sitter import Node

from acepilot.languages import Language
from acepilot.syntax import embedded_at, parse
from eval_humaneval.holes.sources import NOT_CODE

_VUE = {"template_element": "template", "script_element": "script", "style_element": "style"}


@dataclass(frozen=True)
class Region:
    """`text[start:end]` of a file is code in `language`. `root` is its syntax tree, in bytes from `start`."""

    start: int
    end: int
    language: Language
    block: str
    root: Node


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
    return [Region(start, end, language, block, root)] if root else []


def _span(data: bytes, node: Node) -> tuple[int, int]:
    """Return where `node` starts and ends, in characters."""
    return len(data[: node.start_byte].decode()), len(data[: node.end_byte].decode())
