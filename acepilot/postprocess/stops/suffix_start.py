"""Cut where the model generates the rest of the cursor's line again: `foo(a|, b)` completed with `x, b)`.

A model without fill-in-the-middle writes the line to its end, and the editor would show that end twice. A
long end is recognised anywhere, a short one such as `;` only at the end of a line; neither is recognised
inside brackets that the completion opened.
"""

import re
from functools import lru_cache

from acepilot.postprocess.context import FilterInput

_TELLING = re.compile(r"[^\W\d_]{2}|\w.*\w.*\w")


def cut(given: FilterInput) -> int | None:
    end, anywhere = _end_of(given.context.cursor.rest)
    if not end:
        return None
    if anywhere:
        return _cut_at(given, end, given.text)
    return _cut_at(given, end, given.text.rstrip()) if given.ended else None


def hold(given: FilterInput) -> int:
    end, _ = _end_of(given.context.cursor.rest)
    line = given.line.rstrip()
    for start in range(max(len(line) - len(end), 0), len(line)):
        if end.startswith(line[start:]):
            return given.line_start + start
    return len(given.text)


@lru_cache(maxsize=32)
def _end_of(rest: str) -> tuple[str, bool]:
    """Return the end of the line that is looked for, and whether it is recognised anywhere in a line.

    A short end goes without brackets and quotes: `closers` judges those by their openers.
    """
    rest = rest.strip()
    return (rest, True) if _TELLING.search(rest) else (rest.strip(")]}\"'`> \t"), False)


def _cut_at(given: FilterInput, end: str, text: str) -> int | None:
    at = len(text)
    while text.endswith(end, given.line_start, at):  # a model may repeat it: `;;;`
        at -= len(end)
    if at == len(text):
        return None
    if end[0].isalnum() and at > 0 and text[at - 1].isalnum():
        return None  # in the middle of a word
    return None if given.read_to(at).opened else at
