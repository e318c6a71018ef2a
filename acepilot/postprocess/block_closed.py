"""The completion has closed the block that the cursor was in, and finished that line: it is done.

This is where the suffix does not hold the closer; where it does, `closers` ends the completion before it.
"""

from acepilot.postprocess.context import FilterInput


def cut(draft: FilterInput) -> int | None:
    if not draft.ended or draft.now.opened:
        return None
    closed = draft.context.cursor.stack[draft.now.floor :]
    is_block = any(
        opener.mark in ("(", "[", "{") or (len(opener.mark) > 2 and opener.mark[-1] == ">")
        for opener in closed
    )
    return len(draft.text) if is_block else None
