"""The line below the cursor, generated again: the completion has met the code that stands there.

A lone `}` says nothing (every block ends so); `closers` decides about it by the balance of brackets.
"""

import re

from acepilot.postprocess.context import FilterInput

_TELLING = re.compile(r"[^\W\d_]{2}")


def cut(draft: FilterInput) -> int | None:
    below = draft.context.cursor.below
    if not draft.ended or not _TELLING.search(below):
        return None
    return draft.line_start if _comparable(draft).rstrip() == _target(draft) else None


def hold(draft: FilterInput) -> int:
    below = draft.context.cursor.below
    if not _TELLING.search(below):
        return len(draft.text)
    return draft.line_start if _target(draft).startswith(_comparable(draft).rstrip()) else len(draft.text)


def _comparable(draft: FilterInput) -> str:
    """The first line goes on where the cursor stands: its indentation is the editor's, and left out."""
    if draft.line_start:
        return draft.line
    return draft.context.cursor.left.lstrip() + (
        draft.line if draft.context.cursor.left.strip() else draft.line.lstrip()
    )


def _target(draft: FilterInput) -> str:
    below = draft.context.cursor.below
    return below if draft.line_start else below.lstrip()
