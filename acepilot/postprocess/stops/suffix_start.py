"""Cut where the model generates the rest of the cursor's line again: `foo(a|, b)` completed with `x, b)`.

A model without fill-in-the-middle writes the line to its end, and the editor would show that end twice. A
long end is recognised anywhere, a short one such as `;` only at the end of a line; neither is recognised
inside brackets that the completion opened.
"""

import re

from acepilot.postprocess.context import FilterInput

_TELLING = re.compile(r"[^\W\d_]{2}|\w.*\w.*\w")


def cut(given: FilterInput) -> int | None:
    rest = given.context.cursor.rest.strip()
    if not rest:
        return None
    if _TELLING.search(rest):
        return _cut_at(given, rest, given.text)
    tail = _short_end(rest)
    return _cut_at(given, tail, given.text.rstrip()) if given.ended and tail else None


def hold(given: FilterInput) -> int:
    rest = given.context.cursor.rest.strip()
    end = rest if _TELLING.search(rest) else _short_end(rest)
    line = given.line.rstrip()
    for start in range(max(len(line) - len(end), 0), len(line)):
        if end.startswith(line[start:]):
            return given.line_start + start
    return len(given.text)


def _short_end(rest: str) -> str:
    """Return `rest` without brackets and quotes at its ends: `closers` judges those by their openers."""
    return rest.strip(")]}\"'`> \t")


def _cut_at(given: FilterInput, end: str, text: str) -> int | None:
    at = len(text) - len(end)
    if at < given.line_start or not text.endswith(end):
        return None
    if end[0].isalnum() and at > 0 and text[at - 1].isalnum():
        return None  # in the middle of a word
    return None if given.read_to(at).opened else at
