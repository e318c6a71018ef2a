"""Drop indentation at the start of the text that already stands left of the cursor.

If the editor indented less than the block needs, the missing part is kept. Later lines that follow the
doubled indentation move left with the first line.
"""

from acepilot.postprocess.context import Context, indent_of, width
from acepilot.postprocess.mode import opens_block


def drop(text: str, context: Context) -> str:
    left = context.cursor.left
    first, newline, others = text.partition("\n")
    given = indent_of(first)
    if not left or not given or not first.strip():
        return text
    if left.strip():
        return text.lstrip(" \t") if left[-1].isspace() else text
    column = width(left + first)
    wanted = max(_wanted(context), width(left))
    kept = given
    while kept and width(left + kept + first.lstrip()) > wanted:
        kept = kept[1:]
    moved = len(given) - len(kept)
    lines = others.split("\n")
    if all(width(line) >= column for line in lines if line.strip()):
        lines = [line[moved:] if line.strip() else line for line in lines]
    return kept + first.lstrip() + newline + "\n".join(lines)


def _wanted(context: Context) -> int:
    """Return the column that the line above asks for: one step further after an opener, else the same."""
    for line in reversed(context.cursor.before.split("\n")[:-1]):
        if line.strip():
            step = width(line) if width(line) in (2, 4) else 4
            return width(line) + (step if opens_block(line, context.cursor.language) else 0)
    return 0
