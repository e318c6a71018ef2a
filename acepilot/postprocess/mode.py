"""Choose between completing one line and completing a block, before anything is generated."""

import re
from typing import Literal

from acepilot.languages import Language
from acepilot.postprocess.code_reader import LINE_STRINGS
from acepilot.postprocess.context import Cursor

# Text right of the cursor that the completion need not lead up to.
_CLOSERS = re.compile(r"(?:[)\]}\"'`;,\s]|/?>|</[\w.:-]++>)*+")

_OPENS = {
    "braces": re.compile(r"(?:[{(\[]|=>|\bdefault:|\belse)$|^(?=.*:$).*\bcase\b"),
    "indent": re.compile(r"(?:[:{(\[]|->|=>|\b(?:do|then|else|begin|ensure|repeat)|\|[\w, ]+\|)$"),
    "tags": re.compile(r"(?:[{(\[]|=>|[^=]>)$"),
    "plain": re.compile(r"(?!)"),
}


def only_closers(rest: str) -> bool:
    """Return whether the text right of the cursor is only closers: brackets, quotes, `;`, `,`, tag ends."""
    return _CLOSERS.fullmatch(rest) is not None


def opens_block(line: str, language: Language) -> bool:
    """Return whether `line` ends with something that opens a block: `{`, `=>`, Python's `:`, `<ul>`."""
    return _OPENS[language.block_style].search(line.rstrip()) is not None


def choose_mode(cursor: Cursor) -> Literal["line", "block"]:
    """Return `block` on an empty line, after a finished statement and after a block's opener; else `line`."""
    left, rest = cursor.left.strip(), cursor.rest.strip()
    if not only_closers(rest):
        return "line"
    if not left:
        return "block"
    if cursor.inside in (*LINE_STRINGS, cursor.language.line_comment, "<"):
        return "line"
    # Arguments between `(` and its `)`, or a phrase in `<b>|</b>`, take one line; a body in `{}` is a block.
    if rest and (left[-1] in "([" or rest.startswith("</")):
        return "line"
    finished = cursor.language.block_style == "braces" and left[-1] in ";}"
    return "block" if finished or opens_block(left, cursor.language) else "line"
