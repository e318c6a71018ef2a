"""The rest of the cursor's line, generated again: `foo(a|, b)` completed with `x, b)`.

A model without fill-in-the-middle writes the line to its end; the editor would then show that end twice. Long
ends are recognised wherever they come, short ones such as `;` only at the end of a line, and neither inside
brackets that the completion opened itself.
"""

import re

from acepilot.postprocess.context import FilterInput

_TELLING = re.compile(r"[^\W\d_]{2}|\w.*\w.*\w")


def cut(draft: FilterInput) -> int | None:
    rest = draft.context.cursor.rest.strip()
    if not rest:
        return None
    if _TELLING.search(rest):
        return _cut_at(draft, rest, draft.text)
    tail = _short_end(rest)
    return _cut_at(draft, tail, draft.text.rstrip()) if draft.ended and tail else None


def hold(draft: FilterInput) -> int:
    rest = draft.context.cursor.rest.strip()
    end = rest if _TELLING.search(rest) else _short_end(rest)
    line = draft.line.rstrip()
    for start in range(max(len(line) - len(end), 0), len(line)):
        if end.startswith(line[start:]):
            return draft.line_start + start
    return len(draft.text)


def _short_end(rest: str) -> str:
    """Without brackets and quotes: those are judged by `closers`, which knows whose they are."""
    return rest.strip(")]}\"'`> \t")


def _cut_at(draft: FilterInput, end: str, text: str) -> int | None:
    at = len(text) - len(end)
    if at < draft.line_start or not text.endswith(end):
        return None
    if end[0].isalnum() and at > 0 and text[at - 1].isalnum():
        return None  # in the middle of a word
    return None if draft.read_to(at).opened else at
