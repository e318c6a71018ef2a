"""The end of the cursor's block where indentation tells it: a line further left does not belong to it.

Where a keyword closes blocks (`end`, `fi`, `done`) and is still missing below, it is the last line taken in.
"""

import re

from acepilot.postprocess.context import FilterInput, width

_CLOSING_WORD = re.compile(r"\s*(end|fi|done|esac)\b[\s;)]*$")


def cut(draft: FilterInput) -> int | None:
    if not draft.ended or not _leaves(draft):
        return None
    closing = _CLOSING_WORD.match(draft.line)
    if closing and not _stands_below(closing.group(1), draft):
        return len(draft.text)
    return draft.line_start


def hold(draft: FilterInput) -> int:
    return draft.line_start if _leaves(draft) else len(draft.text)


def block_column(draft: FilterInput) -> int:
    """The column of the statements in the cursor's block."""
    left = draft.context.cursor.left
    if left.strip():
        return width(left) + (1 if left.rstrip().endswith(":") else 0)
    if left:
        return width(left)
    text = draft.text.lstrip("\n")
    return width(text.partition("\n")[0])


def _leaves(draft: FilterInput) -> bool:
    line = draft.line.lstrip()
    if draft.context.cursor.language.block_style != "indent" or not draft.line_start or not line:
        return False
    if not draft.in_code or line[0] in ")]}":
        return False
    return width(draft.line) < block_column(draft)


def _stands_below(word: str, draft: FilterInput) -> bool:
    """Whether the first line below that is as far left as this one is the closing word already."""
    column = width(draft.line)
    for line in draft.context.cursor.after.partition("\n")[2].split("\n"):
        if line.strip() and width(line) <= column:
            closing = _CLOSING_WORD.match(line)
            return width(line) == column and closing is not None and closing.group(1) == word
    return False
