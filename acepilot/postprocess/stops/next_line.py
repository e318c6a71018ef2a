"""Cut where the model generates the line below the cursor again.

A line without a word, such as a lone `}`, does not count, for every block ends with it: `closers` judges it.
"""

from functools import lru_cache

from acepilot.postprocess.context import FilterInput, has_word


def cut(given: FilterInput) -> int | None:
    below = given.context.cursor.below
    if not given.ended or not _counts(below):
        return None
    return given.line_start if _comparable(given).rstrip() == _target(given) else None


def hold(given: FilterInput) -> int:
    below = given.context.cursor.below
    if not _counts(below):
        return len(given.text)
    return given.line_start if _target(given).startswith(_comparable(given).rstrip()) else len(given.text)


@lru_cache(maxsize=32)
def _counts(below: str) -> bool:
    """Remembered: a line may have thousands of characters, and each generated character asks."""
    return has_word(below)


def _comparable(given: FilterInput) -> str:
    """Return the last line to compare; the first line includes the cursor's line, without its indentation."""
    if given.line_start:
        return given.line
    return given.context.cursor.left.lstrip() + (
        given.line if given.context.cursor.left.strip() else given.line.lstrip()
    )


def _target(given: FilterInput) -> str:
    below = given.context.cursor.below
    return below if given.line_start else below.lstrip()
