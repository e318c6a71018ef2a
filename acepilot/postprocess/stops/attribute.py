"""End an attribute's value at its quote if the rest of the element already stands after the cursor.

With code right of the cursor, or the element's children below it, models tend to write the rest of the
element once more. Otherwise the completion may continue past the quote. `close` adds a quote that is missing.
"""

from acepilot.postprocess.context import Context, Cursor, FilterInput, width
from acepilot.postprocess.scan import scan


def cut(given: FilterInput) -> int | None:
    """Return the offset after the quote that closes the value around the cursor."""
    cursor = given.context.cursor
    value = _open_value(cursor)
    has_children = bool(cursor.below) and width(cursor.below) > width(cursor.left)
    if value is None or not (cursor.rest.strip() or has_children):
        return None
    for stray in given.now.strays:
        if stray.depth == value:
            return given.line_start + stray.end
    return None


def close(text: str, context: Context) -> str:
    """Add the closing quote if the value is complete and neither the text nor the suffix has the quote."""
    cursor = context.cursor
    value = _open_value(cursor)
    if value is None or cursor.standing[value] or context.mode == "block":
        return text
    is_whole = scan(text, cursor.language, cursor.stack).stack == cursor.stack[: value + 1]
    return text + cursor.inside if is_whole else text


def _open_value(cursor: Cursor) -> int | None:
    """Return the index of the value's quote on the stack; None if the cursor is not in an attribute value."""
    if cursor.language.block_style != "tags" or cursor.inside not in ('"', "'"):
        return None
    return max(index for index, opener in enumerate(cursor.stack) if opener.mark == cursor.inside)
