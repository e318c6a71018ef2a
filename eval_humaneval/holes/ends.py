"""Where a completion of a hole is over: by its own text and the file around it, never by the truth.

A model without fill-in-the-middle writes on, one with it may stop by itself; both are cut alike. The rules
are what the editor shows, read with the editor's lexer, but none of its filters runs: a filter that gets
better must not look like a better model.

line        at the first newline
expression  there, or at a bracket that it did not open, or where what stands right of the hole comes again
block       at a bracket or tag that it did not open, or, where indentation rules, at a line further left
"""

from acepilot.languages import LANGUAGES, Language
from acepilot.postprocess.context import indent_of, width
from acepilot.postprocess.scan import scan
from eval_humaneval.holes.hole import Hole
from eval_humaneval.problems.problem import truncate

_QUOTES = "\"'`"


def end_of(hole: Hole, text: str) -> int | None:
    """The offset at which `text` is over, None while it is not; more text after it never moves it.

    `text` may still be growing: a caller that streams can stop at the first answer.
    """
    language = LANGUAGES[hole.inner]
    if hole.kind == "block":
        ends = _closers(text, language)
        if language.block_style == "indent":
            ends += _dedents(text, width(hole.problem.prompt.rpartition("\n")[2]), language)
    else:
        line, newline, _ = text.partition("\n")
        ends = [len(line)] if newline else []
        if hole.kind == "expression":
            ends += _closers(line, language)
            ends += _repeats(line, hole.problem.suffix.lstrip(" \t")[:1], language)
    return min(ends, default=None)


def answer_of(hole: Hole, completion: str) -> str:
    """What of a completion stands in the hole: up to its end, without white space around it.

    White space at the start is dropped where some stands left of the hole already: tokens of words begin with
    a space, so models write it twice.
    """
    text = truncate(completion, hole.problem.stops)
    text = text[: end_of(hole, text)].rstrip()
    return text.lstrip(" \t") if hole.problem.prompt[-1:].isspace() else text


def stops_of(kind: str, suffix: str, language: Language) -> tuple[str, ...]:
    """Strings that end a completion early. For a block, the line below it is further left than all of it, so
    its indentation and first word can only be what comes after the block."""
    if kind != "block":
        return ("\n",)
    below = next((line for line in suffix.split("\n")[1:] if line.strip()), "")
    first = below.split()[0] if below else ""
    return ((f"\n{indent_of(below)}{first}",) if first else ()) + language.stops


def _closers(text: str, language: Language) -> list[int]:
    """Where brackets or tags are closed that were opened before `text`. In markup `:)` is only text."""
    strays = scan(text, language).strays
    return [stray.start for stray in strays if language.block_style != "tags" or stray.mark[0] == "<"]


def _dedents(text: str, column: int, language: Language) -> list[int]:
    """The newline before the first line that stands left of `column`; inside strings and brackets any may."""
    offset = 0
    for line in text.split("\n"):
        left = bool(line.strip()) and width(line) < column
        if offset and left and not scan(text[:offset], language).stack:
            return [offset - 1]
        offset += len(line) + 1
    return []


def _repeats(line: str, mark: str, language: Language) -> list[int]:
    """Where `mark`, right of the hole, comes again outside of brackets and strings. A quote that ends an
    attribute can stand nowhere inside it."""
    places = [at for at, char in enumerate(line) if char == mark]
    return places if mark in _QUOTES else [at for at in places if not scan(line[:at], language).stack]
