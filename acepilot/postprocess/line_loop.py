"""A line that repeats its own end, `very very very very very`, or never ends: a model in a loop."""

import re

from acepilot.postprocess.context import Context, FilterInput

MAX_LINE_CHARS = 1_000
REPEATS = 5
_UNIT_CHARS = range(3, 41)
_WORD = re.compile(r"[^\W\d_]{2}")


def cut(draft: FilterInput) -> int | None:
    """Generation ends here; the line itself may have been shown, and `drop` takes it out."""
    return len(draft.text) if _loops(draft.line) else None


def drop(text: str, context: Context) -> str:
    """Drops the looping line and what follows it: its beginning is no better than its end."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if _loops(line):
            return "\n".join(lines[:index])
    return text


def _loops(line: str) -> bool:
    line = line.rstrip()
    if len(line) > MAX_LINE_CHARS:
        return True
    return any(
        _WORD.search(line[-unit:]) and line.endswith(line[-unit:] * REPEATS)
        for unit in _UNIT_CHARS
        if unit * REPEATS <= len(line)
    )
