"""A trace: a file, shown up to a place, and its true continuation, key by key.

A trace follows from (file, keystrokes, seed) alone. The gaps between keys are log-normal, short within a word
and longer before the next word; before a line and at the start of a thought there are pauses of 0.6 to 2 s.
Three letters in a hundred are first typed wrong, noticed and deleted. Enter brings the line's indentation, as
in editors; brackets that an editor would close by itself are typed.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from bench.sources import SourceFile

PAUSE_MS = 500
"""A gap of at least this length is a pause and not typing rhythm."""

WITHIN_WORD_MS, NEXT_WORD_MS, MARK_MS = 148.0, 230.0, 230.0
"""Mean gaps in ms, chosen so that the mean over all code is 180 ms, or about 65 words a minute: an average
professional."""
SPREAD = 0.35
"""Standard deviation of the logarithm of a gap."""
LINE_PAUSE_SHARE = 0.8
ENTER_PAUSE_SHARE = 0.15
THOUGHT_SHARE = 0.12
"""Shares of the keys that come after a pause: the first key of a line, Enter, and the first key of a word or
mark elsewhere in a line."""
PAUSE_RANGE_MS = (600.0, 2000.0)
SLIP_SHARE = 0.03
"""Share of the letters that are first typed wrong."""
NOTICE_MS, FIX_MS = 330.0, 200.0
"""Gaps in ms before a wrong letter is deleted, and before the right one is typed."""
PLACES = (0.25, 0.75)
"""The share of a file's lines between which typing begins."""

_STROKE = re.compile(r"\n[ \t]*|.", re.DOTALL)
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@dataclass(frozen=True)
class Key:
    """One press, `gap_ms` after the one before. It inserts `text`; an empty text deletes one character."""

    gap_ms: float
    text: str


@dataclass(frozen=True)
class Stroke:
    """The keys that type `text`, `gap_ms` after the key before. `slip` is a wrong letter, typed first."""

    gap_ms: float
    text: str
    slip: str = ""


@dataclass(frozen=True)
class Trace:
    """A file with a gap between `before` and `after`, and the strokes that fill it."""

    name: str
    language: str
    before: str
    after: str
    strokes: tuple[Stroke, ...]

    @property
    def typed(self) -> str:
        return "".join(stroke.text for stroke in self.strokes)

    def keys_at(self, offset: int) -> Iterator[Key]:
        """Yield the keys of the stroke that ends after `offset`, without the text before `offset`."""
        ends = list(accumulate(len(stroke.text) for stroke in self.strokes))
        index = next(number for number, end in enumerate(ends) if end > offset)
        stroke = self.strokes[index]
        gap_ms = stroke.gap_ms
        if stroke.slip:
            yield Key(gap_ms, stroke.slip)
            yield Key(NOTICE_MS, "")
            gap_ms = FIX_MS
        yield Key(gap_ms, stroke.text[offset - ends[index] :])


def make_trace(file: SourceFile, keystrokes: int, seed: int) -> Trace:
    """Return a trace of about `keystrokes` presses, from the first letter of a line to the end of a line."""
    chance = random.Random(f"{file.name} {keystrokes} {seed}")
    start = _place(file.text, keystrokes, chance)
    strokes: list[Stroke] = []
    presses, end = 0, start
    for match in _STROKE.finditer(file.text, start):
        if presses >= keystrokes and match[0].startswith("\n"):
            break
        stroke = _stroke(match[0], file.text[: match.start()], chance, first=not strokes)
        strokes.append(stroke)
        presses += 3 if stroke.slip else 1
        end = match.end()
    return Trace(file.name, file.language, file.text[:start], file.text[end:], tuple(strokes))


def developer_traces(files: list[SourceFile], developer: int, keystrokes: int, seed: int) -> list[Trace]:
    """Return the traces of one developer: three files, one in each language."""
    first = 3 * (developer % (len(files) // 3))
    return [make_trace(file, keystrokes // 3, seed * 1000 + developer) for file in files[first : first + 3]]


def _place(text: str, keystrokes: int, chance: random.Random) -> int:
    """Return the position of the first letter of a code line that has enough text after it."""
    lines = text.splitlines(keepends=True)
    starts = list(accumulate((len(line) for line in lines), initial=0))
    low, high = (int(share * len(lines)) for share in PLACES)
    fitting = [
        number
        for number in range(low, high)
        if lines[number].strip(" \t\n)}]>;") and len(text) - starts[number] > 2 * keystrokes
    ]
    number = chance.choice(fitting)
    return starts[number] + len(lines[number]) - len(lines[number].lstrip())


def _stroke(text: str, before: str, chance: random.Random, *, first: bool) -> Stroke:
    last = before[-1:]
    new_line = before.rpartition("\n")[2].strip(" \t") == ""
    in_word = _is_word(text) and _is_word(last)
    if text.startswith("\n"):
        pause_share = ENTER_PAUSE_SHARE
    elif first or new_line:
        pause_share = LINE_PAUSE_SHARE
    else:
        pause_share = 0.0 if in_word or text == " " else THOUGHT_SHARE
    mean_ms = WITHIN_WORD_MS if in_word else NEXT_WORD_MS if _is_word(text) else MARK_MS
    # The gap is drawn even if a pause replaces it, so that one change does not shift every later draw.
    gap_ms = min(chance.lognormvariate(0, SPREAD) * mean_ms / _MEAN_OF_SPREAD, PAUSE_MS - 1)
    pause_ms = chance.uniform(*PAUSE_RANGE_MS)
    if chance.random() < pause_share:
        gap_ms = pause_ms
    slipped, direction = chance.random() < SLIP_SHARE, chance.choice((-1, 1))
    return Stroke(gap_ms, text, _neighbour(text, direction) if slipped else "")


_MEAN_OF_SPREAD = 2.718281828459045 ** (SPREAD**2 / 2)


def _neighbour(letter: str, direction: int) -> str:
    """The letter beside this one on the keyboard; empty for other characters."""
    for row in _ROWS:
        if (index := row.find(letter.lower())) >= 0:
            wrong = row[index + direction] if 0 <= index + direction < len(row) else row[index - direction]
            return wrong.upper() if letter.isupper() else wrong
    return ""


def _is_word(text: str) -> bool:
    return text.isalnum() or text == "_"
