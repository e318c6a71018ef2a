"""First of the filters where generation ran out of tokens: the last line may be half of one.

In a block, an unfinished last line goes; where the lines left then break the code (a block just opened), they
are cut back to what stands. A single line is kept: half of it is still what the user would have typed.
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
