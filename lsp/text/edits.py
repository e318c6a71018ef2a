"""The effect of a change on a document and on places in it; the outcome of a completion is derived from it.

Editors report the same change differently: as the exact insertion, as whole lines, or as the whole document.
An `Edit` is trimmed to what really changed, so that all of these reports become the same edit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lsp.text.positions import readable, split_lines

Place = tuple[int, int]
"""Line, and code points before the place on that line."""


@dataclass(frozen=True)
class Edit:
    """`text` replaced the text from `start` to `end`."""

    start: Place
    end: Place
    text: str

    @property
    def new_end(self) -> Place:
        return advanced(self.start, self.text)

    def moved(self, place: Place) -> Place | None:
        """Return where `place` is after the edit, or None if it was inside the replaced text.

        An insertion at `place` itself does not move it.
        """
        if place <= self.start:
            return place
        if place < self.end:
            return None
        line, index = self.new_end
        if place[0] == self.end[0]:
            return line, index + place[1] - self.end[1]
        return place[0] + line - self.end[0], place[1]


def shared_start(one: str, other: str) -> int:
    """Return the length of the common prefix."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(index for index in range(shorter) if one[index] != other[index])


def advanced(place: Place, text: str) -> Place:
    """Return the end of `text` if it begins at `place`."""
    lines = split_lines(text)
    return place[0] + len(lines) - 1, len(lines[-1]) + (place[1] if len(lines) == 1 else 0)


def trimmed(start: Place, removed: str, text: str) -> Edit:
    """Return the edit from `removed` to `text`, without their common prefix and suffix."""
    head = shared_start(removed, text)
    head -= _is_within_line_end(removed, head) or _is_within_line_end(text, head)
    tail = shared_start(removed[head:][::-1], text[head:][::-1])
    tail -= _is_within_line_end(removed, len(removed) - tail) or _is_within_line_end(text, len(text) - tail)
    gone = removed[: len(removed) - tail]
    return Edit(advanced(start, gone[:head]), advanced(start, gone), text[head : len(text) - tail])


def between(old: Sequence[str], new: Sequence[str]) -> Edit:
    """Return the edit that turns the lines `old` into the lines `new`."""
    shorter = min(len(old), len(new))
    first = 0
    while first < shorter - 1 and old[first] == new[first]:
        first += 1
    same = 0
    while same < shorter - first and old[-1 - same] == new[-1 - same]:
        same += 1
    removed, text = "".join(old[first : len(old) - same]), "".join(new[first : len(new) - same])
    return trimmed((first, 0), removed, text)


def text_between(lines: Sequence[str], start: Place, end: Place) -> str:
    """Return the text between two places, with the document's own line ends."""
    parts = list(lines[start[0] : end[0] + 1])
    if not parts:
        return ""
    if end[0] < len(lines):
        parts[-1] = parts[-1][: end[1]]
    parts[0] = parts[0][start[1] :]
    return "".join(parts)


def text_from(lines: Sequence[str], start: Place, chars: int) -> str:
    """Return the next `chars` characters, with LF line ends; fewer at the end of the document."""
    parts: list[str] = []
    size, index = 0, start[1]
    for line in lines[start[0] : start[0] + chars + 1]:
        parts.append(line[index:])
        size += len(parts[-1]) - parts[-1].endswith("\r\n")
        if size >= chars:
            break
        index = 0
    return readable("".join(parts))[:chars]


def _is_within_line_end(text: str, at: int) -> bool:
    """Return whether `at` is between a CR and its LF, where there is no place."""
    return at > 0 and text[at - 1 : at + 1] == "\r\n"
