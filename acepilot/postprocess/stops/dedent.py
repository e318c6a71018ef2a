"""Cut at the first line that is indented less than the cursor's block, in languages of indentation.

A keyword that closes the block (`end`, `fi`, `done`) is kept as the last line if it is missing below.
"""

import re

from acepilot.postprocess.context import FilterInput, width

_CLOSING_WORD = re.compile(r"\s*(end|fi|done|esac)\b[\s;)]*$")


def cut(given: FilterInput) -> int | None:
    if not given.ended or not _leaves(given):
        return None
    closing = _CLOSING_WORD.match(given.line)
    if closing and not _stands_below(closing.group(1), given):
        return len(given.text)
    return given.line_start


def hold(given: FilterInput) -> int:
    return given.line_start if _leaves(given) else len(given.text)


def block_column(given: FilterInput) -> int:
    """Return the column of the statements in the cursor's block."""
    left = given.context.cursor.left
    if left.strip():
        return width(left) + (1 if left.rstrip().endswith(":") else 0)
    if left:
        return width(left)
    text = given.text.lstrip("\n")
    return width(text.partition("\n")[0])


def _leaves(given: FilterInput) -> bool:
    line = given.line.lstrip()
    if given.context.cursor.language.block_style != "indent" or not given.line_start or not line:
        return False
    if not given.in_code or line[0] in ")]}":
        return False
    return width(given.line) < block_column(given)


def _stands_below(word: str, given: FilterInput) -> bool:
    """Return whether the first line below that is indented this far or less is the closing word."""
    column = width(given.line)
    for line in given.context.cursor.after.partition("\n")[2].split("\n"):
        if line.strip() and width(line) <= column:
            closing = _CLOSING_WORD.match(line)
            return width(line) == column and closing is not None and closing.group(1) == word
    return False
