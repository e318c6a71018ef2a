"""End the completion after the line that closes the cursor's block.

This applies if the suffix lacks the closer; if it has the closer, `closers` cuts before it.
"""

from acepilot.postprocess.context import FilterInput


def cut(given: FilterInput) -> int | None:
    if not given.ended or given.now.opened:
        return None
    closed = given.context.cursor.stack[given.now.floor :]
    is_block = any(
        opener.mark in ("(", "[", "{") or (len(opener.mark) > 2 and opener.mark[-1] == ">")
        for opener in closed
    )
    return len(given.text) if is_block else None
