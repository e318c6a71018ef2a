"""Drop a completion without any letter, digit, bracket or quote. The last filter.

`)`, `[]` and `0;` may complete a line at any length, while `...`, `//` and `;` help nobody. So the kinds of
characters decide here, not the number of them.
"""

from acepilot.postprocess.context import Context
from acepilot.postprocess.scan import scan


def drop(text: str, context: Context) -> str:
    if any(char.isalnum() or char in "()[]{}\"'`" for char in text):
        return text
    cursor = context.cursor  # `>` and `*/` are none of the characters above, but may close a tag or a comment
    return text if scan(text, cursor.language, cursor.stack).floor < len(cursor.stack) else ""
