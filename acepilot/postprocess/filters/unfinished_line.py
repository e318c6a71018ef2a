"""Drop the unfinished last line of a block if generation ran out of tokens. The first filter.

If the remaining lines do not parse (the last one opens a block), more lines go, until the text parses. In
line mode the text is kept: half of a line still saves typing.
"""

from acepilot.postprocess.context import Context
from acepilot.syntax import longest_valid_prefix


def drop(text: str, context: Context) -> str:
    whole, newline, _ = text.rpartition("\n")
    if context.mode == "line" or not newline or not whole.strip():
        return text
    cursor = context.cursor
    stands = longest_valid_prefix(cursor.before, whole, cursor.after, cursor.language)
    return whole[:stands] if whole[:stands].strip() else whole
