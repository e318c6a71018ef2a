"""In line mode, end the completion with its first line, unless that line leaves brackets open.

After `computed(() => {` the completion may continue for MAX_LINES lines, until its brackets are closed. If
they are not closed by then, or a blank line comes first, only the first line is offered.
"""

from acepilot.postprocess.context import FilterInput
from acepilot.postprocess.mode import only_closers

MAX_LINES = 8


def cut(given: FilterInput) -> int | None:
    context = given.context
    if context.mode != "line" or not given.ended:
        return None
    first_end = given.text.find("\n")
    if first_end < 0:
        goes_on = bool(given.line.strip()) and only_closers(context.cursor.rest) and _opens(given)
        return None if goes_on else len(given.text)
    if not given.line.strip() or given.text.count("\n") >= MAX_LINES:
        return first_end
    return None if given.now.opened else len(given.text)


def hold(given: FilterInput) -> int:
    """Show only the first line until the brackets are closed."""
    first_end = given.text.find("\n")
    return first_end if given.context.mode == "line" and first_end >= 0 else len(given.text)


def _opens(given: FilterInput) -> bool:
    """Return whether the line leaves a bracket open. A string ends with its line and does not count."""
    return bool(given.now.opened) and given.now.opened[-1].mark in "([{"
