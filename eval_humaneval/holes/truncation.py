"""Find the end of a hole's completion, from its own text and the file around it, never from the truth.

A model without fill-in-the-middle does not stop by itself, so every completion is truncated by the same
rules. They use the lexer of the editor's filters, but not the filters: a better filter must not look like a
better model. A completion ends

line        at the first newline
expression  at the first newline, at an unopened bracket, or where the character after the hole comes again
block       at an unopened bracket or tag; in languages with indentation, at a line indented less
"""

from acepilot.languages import LANGUAGES, Language
from acepilot.postprocess.context import indent_of, width
from acepilot.postprocess.scan import scan
from eval_humaneval.holes.hole import Hole
from eval_humaneval.problems.problem import truncate

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
    """Return the part of `completion` that fills the hole, without white space at its end. Leading white
    space is dropped if the text before the hole ends with some: word tokens begin with a space, so models
    write it a second time."""
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
