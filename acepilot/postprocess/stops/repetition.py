"""Stop and drop repeated lines: the same line three times, or a block of lines twice.

Two equal lines may be right (two list items), and so may lines without a word, such as closers.
"""

from acepilot.postprocess.context import Context, FilterInput, has_word

MAX_BLOCK_LINES = 8
"""Lines of the longest block whose repetition is detected; longer ones are rare, and each size costs time."""

LINES_READ = 2 * MAX_BLOCK_LINES
"""Lines from the end in which a repetition shows: a block and its copy, or three single or double lines."""


def cut(given: FilterInput) -> int | None:
    """Return the end of the text: generation stops; copies may be shown already, and `drop` removes them."""
    if not given.ended:
        return None
    lines = given.text.rsplit("\n", LINES_READ)[-LINES_READ:]
    return len(given.text) if _copies_from(lines) is not None else None


def drop(text: str, context: Context) -> str:
    """Keep the first copy; drop the others and what follows them."""
    lines = text.split("\n")
    for count in range(2, len(lines) + 1):
        first = max(count - LINES_READ, 0)
        start = _copies_from(lines[first:count])
        if start is not None:
            return "\n".join(lines[: first + start])
    return text


def _copies_from(lines: list[str]) -> int | None:
    """Return the index of the first repeated line at the end of `lines`; None if nothing repeats there."""
    for size in range(1, MAX_BLOCK_LINES + 1):
        # One or two lines must be repeated twice to count as a loop, longer blocks once.
        copies = 2 if size < 3 else 1
        start = len(lines) - size * copies
        block = lines[start - size : start]
        if start < size or not any(map(has_word, block)):
            continue
        if all(lines[start + index] == block[index % size] for index in range(size * copies)):
            return start
    return None
