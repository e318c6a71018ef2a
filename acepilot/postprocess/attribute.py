"""An attribute's value ends with its quote, where the rest of its element is written already.

With code right of the cursor, or the element's children below, a model likes to write the rest of the element
once more. Where there is nothing yet, it may go on. And a whole value is not left open.
"""

from acepilot.postprocess.context import Context, Cursor, FilterInput, width
from acepilot.postprocess.scan import scan


def cut(draft: FilterInput) -> int | None:
    """Behind the quote that closes the value the cursor is in."""
    cursor = draft.context.cursor
    value = _open_value(cursor)
    has_children = bool(cursor.below) and width(cursor.below) > width(cursor.left)
    if value is None or not (cursor.rest.strip() or has_children):
        return None
    for stray in draft.now.strays:
        if stray.depth == value:
            return draft.line_start + stray.end
    return None


def close(text: str, context: Context) -> str:
    """Adds the closing quote, where the value is whole and neither the text nor the suffix has it."""
    cursor = context.cursor
    value = _open_value(cursor)
    if value is None or cursor.standing[value] or context.mode == "block":
        return text
    is_whole = scan(text, cursor.language, cursor.stack).stack == cursor.stack[: value + 1]
    return text + cursor.inside if is_whole else text


def _open_value(cursor: Cursor) -> int | None:
    """Where on the stack the value's quote is; None when the cursor is in no attribute value."""
    if cursor.language.block_style != "tags" or cursor.inside not in ('"', "'"):
        return None
    return max(index for index, opener in enumerate(cursor.stack) if opener.mark == cursor.inside)
