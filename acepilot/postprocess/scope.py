"""The scope limit: what a parser says the completion has broken out of is cut, however it is indented.

A block around the cursor is complete in the document. If, with the completion inserted, the block that starts
at the same place ends inside the completion, then the completion closed it: Ruby's `end` in unindented code.
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
    # Where a closer is missing, a parser cannot tell whose, and the completion may be about to add it.
    if any(block.broken for block in blocks):
        return text
    complete = {(block.kind, block.start) for block in blocks if at <= block.closer < block.end}
    for block in enclosing_blocks(cursor.before, cursor.after, cursor.language, text) if complete else ():
        if (block.kind, block.start) in complete and at < block.closer and block.end <= end:
            return text[: block.closer - at]
    return text
