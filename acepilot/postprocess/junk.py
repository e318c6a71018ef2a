"""Last of the filters: a completion without a word, a number, a bracket or a quote is not worth a glance.

Tabby drops what is shorter than four characters. But `)` that completes a call, `[]` or `0;` are right at any
length, and what is closed already was cut before; `...`, `//` or `;` help no one.
"""

from acepilot.postprocess.context import Context
from acepilot.postprocess.scan import scan


def drop(text: str, context: Context) -> str:
    if any(char.isalnum() or char in "()[]{}\"'`" for char in text):
        return text
    cursor = context.cursor  # what closes a tag or a comment is no bracket
    return text if scan(text, cursor.language, cursor.stack).floor < len(cursor.stack) else ""
