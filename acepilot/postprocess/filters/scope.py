"""Cut where the completion leaves the scope around the cursor, as a parser sees it, whatever the indentation.

The document closes the block around the cursor itself. If, with the completion inserted, that block ends
inside the completion, the completion closed it too: Ruby's `end` in unindented code, for example.
"""

from acepilot.postprocess.context import Context
from acepilot.syntax import enclosing_blocks, window


def limit(text: str, context: Context) -> str:
    cursor = context.cursor
    if context.mode == "line" or "\n" not in text:
        return text
    at = len(window(cursor.before, cursor.after)[0])
    end = at + len(text.rstrip())
    blocks = enclosing_blocks(cursor.before, cursor.after, cursor.language)
    # If a closer is missing, a parser cannot say which one, and the completion may be adding it.
    if any(block.broken for block in blocks):
        return text
    complete = {(block.kind, block.start) for block in blocks if at <= block.closer < block.end}
    for block in enclosing_blocks(cursor.before, cursor.after, cursor.language, text) if complete else ():
        if (block.kind, block.start) in complete and at < block.closer and block.end <= end:
            return text[: block.closer - at]
    return text
