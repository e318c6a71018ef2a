"""Cut a closer (bracket, quote, tag) that already stands after the cursor.

With `"` right of the cursor, `item.id">` becomes `item.id`; a function body ends before the `}` that stands
below. A closer without any opener is cut too. A completion may close what the prefix leaves open and the
suffix does not close.
"""

import re

from acepilot.postprocess.code_reader import LINE_STRINGS
from acepilot.postprocess.context import FilterInput

# The beginnings of closers of several characters: `</li>`, `/>`, `*/`, `"""`, `-->`.
_PARTIAL = re.compile(r"(?:</?[\w.:-]*\s*|/|[\"'`*\]#-]+)$")


def cut(given: FilterInput) -> int | None:
    cursor = given.context.cursor
    floor = given.above.floor
    for stray in given.now.strays:
        if stray.depth < 0:
            # Between tags, the `)` of `:)` or `a)` is plain text; in an attribute's value it is code.
            in_markup = cursor.language.block_style == "tags" and stray.inside not in LINE_STRINGS
            if in_markup and stray.mark in "([{":
                continue
            return given.line_start + stray.start
        if any(cursor.standing[stray.depth : floor]):
            return given.line_start + stray.start
        floor = min(floor, stray.depth)
    return None


def hold(given: FilterInput) -> int:
    partial = _PARTIAL.search(given.line)
    return given.line_start + partial.start() if partial else len(given.text)
