"""What already stands after the cursor is not closed again: brackets, quotes, attribute values, tags.

With `"` right of the cursor, `item.id">` ends as `item.id`; in a function whose `}` stands below, a body ends
before it. A closer that nothing needs is cut as well. What the prefix leaves open and the suffix does not
close may be closed.
"""

import re

from acepilot.postprocess.context import FilterInput
from acepilot.postprocess.scan import LINE_STRINGS, mode_of

# The beginnings of closers of several characters: `</li>`, `/>`, `*/`, `"""`, `-->`.
_PARTIAL = re.compile(r"(?:</?[\w.:-]*\s*|/|[\"'`*\]#-]+)$")


def cut(draft: FilterInput) -> int | None:
    cursor = draft.context.cursor
    floor = draft.above.floor
    for stray in draft.now.strays:
        if stray.depth < 0:
            # In text between tags, `:)` and `a)` are just characters; in an attribute's value they are code.
            if cursor.language.block_style == "tags" and stray.mark in "([{":
                before = draft.read_to(stray.start)
                if mode_of(before.stack, cursor.language) not in LINE_STRINGS:
                    continue
            return draft.line_start + stray.start
        if any(cursor.standing[stray.depth : floor]):
            return draft.line_start + stray.start
        floor = min(floor, stray.depth)
    return None


def hold(draft: FilterInput) -> int:
    partial = _PARTIAL.search(draft.line)
    return draft.line_start + partial.start() if partial else len(draft.text)
