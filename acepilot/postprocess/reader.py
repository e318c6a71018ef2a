"""What every lexer of this package shares: the stack of openers, and how closers find theirs.

A text is read once, from left to right, in a time that grows only with its length, however deep it is nested:
hostile files have a hundred thousand brackets in a row.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

from acepilot.languages import Language

PAIRS = {")": "(", "]": "[", "}": "{"}
BRACKETS = frozenset(PAIRS.values())

MAX_DEPTH = 200
"""Openers of one text that are kept; of deeper nesting, which no real code has, the outermost are dropped."""

LONGEST_TOKEN = 8
"""Characters at the end of a growing text that may yet become part of another token."""

_INDENT = re.compile(r"[^\S\n]*")


@dataclass(frozen=True)
class Opener:
    """Something open. `mark` opened it, on a line with `indent`; `name` is the name of an unfinished tag."""

    mark: str
    indent: str
    name: str = ""


@dataclass(frozen=True)
class Stray:
    """A closer whose opener is not in the scanned text.

    `depth` is the opener's index on the stack with which the scan began, or -1 if it is not there. `indent`
    is None unless the closer stands first on its line. `inside` is the mark of the string or tag around it.
    """

    start: int
    end: int
    mark: str
    depth: int
    indent: str | None
    inside: str


@dataclass(frozen=True)
class Scan:
    """The stack after a text that was read up to `end`.

    `stack[:floor]` was open before the text; the text opened the rest.
    """

    stack: tuple[Opener, ...]
    floor: int
    strays: tuple[Stray, ...] = ()
    end: int = 0

    @property
    def opened(self) -> tuple[Opener, ...]:
        return self.stack[self.floor :]

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """The indexes on the stack of each mark, and under "" of all marks but brackets."""
        places: dict[str, list[int]] = {"": []}
        for index, opener in enumerate(self.stack):
            note(places, opener.mark, index)
        return places


def note(places: dict[str, list[int]], mark: str, index: int) -> None:
    """Add an opener's index to `Scan.places`, or to such a dictionary of a reader."""
    places.setdefault(mark, []).append(index)
    if mark not in BRACKETS:
        places[""].append(index)


class Reader:
    """Reads `text` on from where the scan `before` ended.

    The stack is what `before` left open, of which `_kept` openers still are, with `_new` on top.
    """

    def __init__(self, text: str, language: Language, before: Scan) -> None:
        self.text = text
        self.language = language
        self._before = before
        self._kept = len(before.stack)
        self._new: list[Opener] = []
        self._new_places: dict[str, list[int]] = {"": []}
        self._floor = before.floor
        self._strays = list(before.strays)
        self._end = before.end
        self._line_start = self._line_seen = 0
        self._indent: tuple[int, str] = (-1, "")

    def read(self, limit: int) -> Scan:
        """Read the tokens that end at `limit` or before it."""
        while (match := self.pattern().search(self.text, self._end)) and match.end() <= limit:
            end = self.take(match)
            if end > limit:  # something to skip, of which more may come
                break
            self._end = end
        stack = (*self._before.stack[: self._kept], *self._new)
        stack = stack[: self._floor] + stack[self._floor :][-MAX_DEPTH:]
        return Scan(stack, self._floor, tuple(self._strays), self._end)

    def pattern(self) -> re.Pattern[str]:
        """Return the pattern of the next token."""
        raise NotImplementedError

    def take(self, match: re.Match[str]) -> int:
        """Note a token, and return where to read on. What is skipped must not change the stack."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        return self._kept + len(self._new)

    def mark_at(self, index: int) -> str:
        """Return a mark of the stack; "" for the index -1."""
        return self._opener(index).mark if index >= 0 else ""

    def open(self, mark: str, start: int, name: str = "") -> None:
        self.push(Opener(mark, self._indent_at(start), name))

    def push(self, opener: Opener) -> None:
        note(self._new_places, opener.mark, self.depth)
        self._new.append(opener)

    def innermost(self, mark: str) -> int:
        """Return the innermost `mark`'s index on the stack, or -1; with "", of any mark but a bracket."""
        if new := self._new_places.get(mark):
            return new[-1]
        places = self._before.places.get(mark, [])
        place = bisect_left(places, self._kept) - 1
        return places[place] if place >= 0 else -1

    def close(self, mark: str, match: re.Match[str]) -> Opener | None:
        """Close the innermost `mark` and everything inside it; a bracket never closes across a tag."""
        depth, barrier = self.innermost(mark), self.innermost("")
        if mark in BRACKETS and barrier > depth:
            depth = -1
        if depth < self._floor:
            start, end = match.span()
            indent = self._indent_at(start)
            first = self.text[max(start - len(indent) - 1, 0) : start - len(indent)] == "\n"
            inside = self.mark_at(barrier)
            self._strays.append(Stray(start, end, mark, depth, indent if first else None, inside))
        if depth < 0:
            return None
        closed = self._opener(depth)
        self.drop_from(depth)
        return closed

    def drop_from(self, depth: int) -> None:
        for opener in reversed(self._new[max(depth - self._kept, 0) :]):
            self._new_places[opener.mark].pop()
            if opener.mark not in BRACKETS:
                self._new_places[""].pop()
        del self._new[max(depth - self._kept, 0) :]
        self._kept = min(self._kept, depth)
        self._floor = min(self._floor, depth)

    def _opener(self, index: int) -> Opener:
        return self._before.stack[index] if index < self._kept else self._new[index - self._kept]

    def _indent_at(self, offset: int) -> str:
        """Return the indentation of the line at `offset`. Offsets must not go back from call to call."""
        newline = self.text.rfind("\n", self._line_seen, offset)
        self._line_seen = offset
        if newline >= 0:
            self._line_start = newline + 1
        if self._indent[0] != self._line_start:
            match = _INDENT.match(self.text, self._line_start)
            self._indent = (self._line_start, match.group() if match else "")
        return self._indent[1]
