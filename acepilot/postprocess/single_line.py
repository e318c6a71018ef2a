"""Line mode: one line is wanted, so the newline ends it, unless the line opened what it has to close.

`computed(() => {` is no answer; it may go on until its brackets are closed again, for a few lines. Where that
does not happen, or a blank line shows that the model has wandered off, the first line alone is offered.
"""

from acepilot.postprocess.context import FilterInput
from acepilot.postprocess.mode import only_closers

MAX_LINES = 8


def cut(draft: FilterInput) -> int | None:
    context = draft.context
    if context.mode != "line" or not draft.ended:
        return None
    first_end = draft.text.find("\n")
    if first_end < 0:
        goes_on = bool(draft.line.strip()) and only_closers(context.cursor.rest) and _opens(draft)
        return None if goes_on else len(draft.text)
    if not draft.line.strip() or draft.text.count("\n") >= MAX_LINES:
        return first_end
    return None if draft.now.opened else len(draft.text)


def hold(draft: FilterInput) -> int:
    """Until the brackets are closed, only the first line is sure."""
    first_end = draft.text.find("\n")
    return first_end if draft.context.mode == "line" and first_end >= 0 else len(draft.text)


def _opens(draft: FilterInput) -> bool:
    """Whether the line opened brackets; an open string does not count, it ends with its line."""
    return bool(draft.now.opened) and draft.now.opened[-1].mark in "([{"
