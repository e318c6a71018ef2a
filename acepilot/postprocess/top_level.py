"""A blank line, then a new definition or anything at the left margin: what came before was complete."""

from acepilot.postprocess.context import FilterInput, indent_of, width
from acepilot.postprocess.dedent import block_column


def cut(draft: FilterInput) -> int | None:
    return draft.line_start if draft.ended and _may_begin(draft) and _begins(draft) else None


def hold(draft: FilterInput) -> int:
    return draft.line_start if _may_begin(draft) else len(draft.text)


def _may_begin(draft: FilterInput) -> bool:
    above = draft.text[: draft.line_start]
    if draft.context.cursor.language.block_style == "tags" or not above.strip() or not draft.in_code:
        return False
    if above[:-1].rpartition("\n")[2].strip():
        return False  # no blank line between
    line = draft.line.lstrip()
    return bool(line) and line[0] not in ")]}" and width(draft.line) <= block_column(draft)


def _begins(draft: FilterInput) -> bool:
    definitions = tuple(stop.strip() for stop in draft.context.cursor.language.stops)
    return not indent_of(draft.line) or draft.line.lstrip().startswith(definitions)
