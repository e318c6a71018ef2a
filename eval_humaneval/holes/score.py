"""The last step of hole filling: find the end of a completion, and measure how close it is to the truth.

A model without fill-in-the-middle does not stop by itself, so every completion is truncated by the same
rules, from its own text and the file around it, never from the truth. They use the lexer of the editor's
filters, but not the filters: a better filter must not look like a better model. A completion ends

line        at the first newline
expression  at the first newline, at an unopened bracket, or where the character after the hole comes again
block       at an unopened bracket or tag; in languages with indentation, at a line indented less
"""

from statistics import fmean

import numpy as np

from acepilot.languages import LANGUAGES, Language
from acepilot.postprocess.context import indent_of, width
from acepilot.postprocess.scan import scan
from acepilot.syntax import parses
from eval_humaneval.holes.hole import Hole
from eval_humaneval.problems.problem import truncate
from eval_humaneval.results import HoleMeasures

_QUOTES = "\"'`"


def find_end(hole: Hole, text: str) -> int | None:
    """Return the offset at which `text` ends, None while it has no end. More text never moves the end: a
    caller that streams can stop at the first offset."""
    language = LANGUAGES[hole.inner]
    if hole.kind == "block":
        ends = _unopened(text, language)
        if language.block_style == "indent":
            ends += _dedents(text, width(hole.problem.prompt.rpartition("\n")[2]), language)
    else:
        line, newline, _ = text.partition("\n")
        ends = [len(line)] if newline else []
        if hole.kind == "expression":
            ends += _unopened(line, language)
            ends += _occurrences(line, hole.problem.suffix.lstrip(" \t")[:1], language)
    return min(ends, default=None)


def extract_answer(hole: Hole, completion: str) -> str:
    """Return the part of `completion` that fills the hole, without white space at its end. White space at its
    start is dropped if the text before the hole ends with some: word tokens begin with a space."""
    text = truncate(completion, hole.problem.stops)
    text = text[: find_end(hole, text)].rstrip()
    return text.lstrip(" \t") if hole.problem.prompt[-1:].isspace() else text


def stops_for(kind: str, suffix: str, language: Language) -> tuple[str, ...]:
    """Return strings that end a completion. The line below a block is indented less than the whole block. So
    its indentation with its first word can only come after the block."""
    if kind != "block":
        return ("\n",)
    below = next((line for line in suffix.split("\n")[1:] if line.strip()), "")
    first = below.split()[0] if below else ""
    return ((f"\n{indent_of(below)}{first}",) if first else ()) + language.stops


def _unopened(text: str, language: Language) -> list[int]:
    """Return where brackets or tags close that `text` did not open. In markup, brackets are plain text."""
    strays = scan(text, language).strays
    return [stray.start for stray in strays if language.block_style != "tags" or stray.mark[0] == "<"]


def _dedents(text: str, column: int, language: Language) -> list[int]:
    """Return the newline before the first line indented less than `column`, outside strings and brackets."""
    offset = 0
    for line in text.split("\n"):
        left = bool(line.strip()) and width(line) < column
        if offset and left and not scan(text[:offset], language).stack:
            return [offset - 1]
        offset += len(line) + 1
    return []


def _occurrences(line: str, mark: str, language: Language) -> list[int]:
    """Return where `mark`, the character after the hole, occurs outside brackets and strings. A quote counts
    everywhere: it cannot occur inside the attribute that it ends."""
    places = [at for at, char in enumerate(line) if char == mark]
    return places if mark in _QUOTES else [at for at in places if not scan(line[:at], language).stack]


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
    whole, language = before + answer + after, hole.problem.language
    return hole.inner == language or parses(whole, LANGUAGES[language])


def _without_line_ends(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()
