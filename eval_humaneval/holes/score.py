"""The last step of hole filling: measure how close a completion is to the text that was cut out."""

from statistics import fmean

import numpy as np

from acepilot.languages import LANGUAGES
from acepilot.syntax import parses
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.truncation import extract_answer
from eval_humaneval.results import HoleMeasures


def score(hole: Hole, completion: str, log_probs: list[float] | None) -> HoleMeasures:
    """Score an untruncated `completion`. White space at the ends of lines is ignored. `log_probs` are those
    of the tokens of `hole.truth` after the same prompt; None if the engine has none."""
    answer = extract_answer(hole, completion)
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
    """Return the Levenshtein distance: inserting, deleting or replacing a character costs 1. The table is
    computed a row at a time. Within a row, an insertion costs 1 per column, so the minimum over all
    insertions is a running minimum after subtracting the column number."""
    letters = np.array([ord(char) for char in other], dtype=np.int64)
    columns = np.arange(len(other) + 1)
    row = columns
    for char in one:
        best = row + 1
        best[1:] = np.minimum(best[1:], row[:-1] + (letters != ord(char)))
        row = np.minimum.accumulate(best - columns) + columns
    return int(row[-1])


def _parses_with(hole: Hole, answer: str) -> bool:
    """Return True if file and inner code have no syntax error with `answer` in the hole. An empty answer
    counts as an error, since the file often parses without the hole's text."""
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
