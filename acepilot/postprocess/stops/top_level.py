"""Cut at a new definition, or at a line without indentation, that follows a blank line."""

from acepilot.postprocess.context import FilterInput, indent_of, width
from acepilot.postprocess.stops.dedent import block_column


def cut(given: FilterInput) -> int | None:
    return given.line_start if given.ended and _may_begin(given) and _begins(given) else None


def hold(given: FilterInput) -> int:
    return given.line_start if _may_begin(given) else len(given.text)


def _may_begin(given: FilterInput) -> bool:
    above = given.text[: given.line_start]
    if given.context.cursor.language.block_style == "tags" or not above.strip() or not given.in_code:
        return False
    if above[:-1].rpartition("\n")[2].strip():
        return False  # no blank line between
    line = given.line.lstrip()
    return bool(line) and line[0] not in ")]}" and width(given.line) <= block_column(given)


def _begins(given: FilterInput) -> bool:
    definitions = tuple(stop.strip() for stop in given.context.cursor.language.stops)
    return not indent_of(given.line) or given.line.lstrip().startswith(definitions)
