"""Hole-filling, the last step: how near a completion comes to what stood in the hole."""

from statistics import fmean

import numpy as np

from acepilot.languages import LANGUAGES
from acepilot.syntax import parses
from eval_humaneval.holes.ends import answer_of
from eval_humaneval.holes.hole import Hole
from eval_humaneval.results import HoleMeasures


def score(hole: Hole, completion: str, log_probs: list[float] | None) -> HoleMeasures:
    """`completion` as the model gave it; it is cut here. `log_probs` are the engine's for the tokens of
    `hole.truth` after the same prompt, None where it gives none.

    White space at the ends of lines counts for nothing.
    """
    answer = answer_of(hole, completion)
    given, wanted = _without_line_ends(answer), _without_line_ends(hole.truth)
    return HoleMeasures(
        kind=hole.kind,
        block=hole.block,
        exact_match=given == wanted,
        edit_similarity=1 - edit_distance(given, wanted) / max(len(given), len(wanted)),
        parses=_parses_with(hole, answer) if _parses_with(hole, hole.truth) else None,
        log_likelihood=fmean(log_probs) if log_probs else None,
    )


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's: insertions, deletions and replacements of a character, each 1.

    A row of the table at a time. Within a row an insertion costs 1 a column, so that the best one before each
    column is a running minimum once the columns' own cost is taken off.
    """
    letters = np.array([ord(char) for char in other], dtype=np.int64)
    columns = np.arange(len(other) + 1)
    row = columns
    for char in one:
        best = row + 1
        best[1:] = np.minimum(best[1:], row[:-1] + (letters != ord(char)))
        row = np.minimum.accumulate(best - columns) + columns
    return int(row[-1])


def _parses_with(hole: Hole, answer: str) -> bool:
    """Whether file and inner code have no syntax error with `answer` in the hole; never for an empty one,
    which leaves a hole and often no error."""
    if not answer.strip():
        return False
    before, after = hole.before, hole.after
    inner = before[hole.inner_start :] + answer + after[: hole.inner_end]
    if not parses(inner, LANGUAGES[hole.inner]):
        return False
    return hole.inner == hole.problem.language or parses(
        before + answer + after, LANGUAGES[hole.problem.language]
    )


def _without_line_ends(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()
