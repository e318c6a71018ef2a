"""Last of the filters: a completion without a word or a number is offered only where it closes what is open.

Tabby drops what is shorter than four characters. A lone `)` or `"` that completes the statement is right at
any length, and `i` or `0;` may be; `...`, `//` or `;` help no one.
"""

from acepilot.postprocess.context import Context
from acepilot.postprocess.scan import scan


def drop(text: str, context: Context) -> str:
    if any(char.isalnum() for char in text):
        return text
    cursor = context.cursor
    return text if scan(text, cursor.language, cursor.stack).floor < len(cursor.stack) else ""
