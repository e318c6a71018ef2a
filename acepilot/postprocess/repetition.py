"""Lines that repeat: the same one thrice, or a block of them again and again, is a model in a loop.

Two equal lines are legitimate (two list items), and so are lines without a word, such as closers.
"""

import re

from acepilot.postprocess.context import Context, FilterInput

MAX_BLOCK_LINES = 8
_TELLING = re.compile(r"[^\W\d_]{2}")


def cut(draft: FilterInput) -> int | None:
    """Generation ends here; the copies themselves may have been shown, and `drop` takes them out."""
    return len(draft.text) if draft.ended and _copies_from(draft.text.split("\n")) is not None else None


def drop(text: str, context: Context) -> str:
    """Keeps the first of the copies."""
    lines = text.split("\n")
    for count in range(2, len(lines) + 1):
        start = _copies_from(lines[:count])
        if start is not None:
            return "\n".join(lines[:start])
    return text


def _copies_from(lines: list[str]) -> int | None:
    """Where the copies start that `lines` end with; None if they end with none."""
    for size in range(1, MAX_BLOCK_LINES + 1):
        # Of one or two lines, two copies beside the first are proof; of a longer block, one.
        copies = 2 if size < 3 else 1
        start = len(lines) - size * copies
        block = lines[start - size : start]
        if start < size or not any(_TELLING.search(line) for line in block):
            continue
        if all(lines[start + index] == block[index % size] for index in range(size * copies)):
            return start
    return None
