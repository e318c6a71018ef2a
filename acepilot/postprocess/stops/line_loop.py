"""Stop and drop a line in which the model loops: it repeats its own end, or it does not end."""

from acepilot.postprocess.context import Context, FilterInput, has_word

MAX_LINE_CHARS = 1_000
"""A longer line counts as a loop: hardly any line of code that is written by hand is as long."""

MAX_TEXT_CHARS = 8_000
"""A longer text counts as one, too: no editor shows 200 lines, and judging them takes long."""

REPEATS = 5
"""A piece of text that ends the line this many times is a loop: `very very very very very`."""

_UNIT_CHARS = range(3, 41)
"""Lengths of the repeated piece that are tried, in characters."""


def cut(given: FilterInput) -> int | None:
    """Return the end of the text: generation stops; the line may be shown already, and `drop` removes it."""
    return len(given.text) if len(given.text) > MAX_TEXT_CHARS or _loops(given.line) else None


def drop(text: str, context: Context) -> str:
    """Drop the looping line as a whole, and every line after it."""
    if len(text) > MAX_TEXT_CHARS:
        text = text[:MAX_TEXT_CHARS].rpartition("\n")[0]
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if _loops(line):
            return "\n".join(lines[:index])
    return text


def _loops(line: str) -> bool:
    if len(line) > MAX_LINE_CHARS:
        return True
    line = line.rstrip()
    return any(
        line[-unit * REPEATS : -unit] == line[-unit * (REPEATS - 1) :] and has_word(line[-unit:])
        for unit in _UNIT_CHARS
        if unit * REPEATS <= len(line)
    )
