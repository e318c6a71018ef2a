"""Rows of the KV cache: which one a new sequence gets, so that little is computed twice; for the schedule.

A row outlives its sequence: the next prompt with the same beginning goes on from there. Where that row is
still in use, or most of what it keeps would be lost, its beginning is copied to another.
"""

from dataclasses import dataclass, field
from operator import eq

COPY_TOKENS = 32
"""A shorter beginning is computed sooner than it is copied."""

WORTH_KEEPING = 4
"""A new prompt goes on in a row where it finds at least 1 of so many of the row's tokens. While one types, it
finds all above the cursor; a file that begins with the same licence finds little, and goes elsewhere."""


@dataclass
class Row:
    """`tokens` are exactly what was computed into it, drafts that came out wrong included."""

    slot: int
    tokens: list[int] = field(default_factory=list[int])
    busy: bool = False
    used_at: int = 0


@dataclass(frozen=True)
class Copy:
    """The first `tokens` positions, from row to row, before the next step."""

    source: int
    target: int
    tokens: int


@dataclass(frozen=True)
class Place:
    """A row for a new sequence, which finds its first `reused` tokens there once `copy` is made."""

    row: Row
    reused: int
    copy: Copy | None = None


class Rows:
    def __init__(self, slots: int) -> None:
        self._rows = [Row(slot) for slot in range(slots)]
        self._uses = 0

    @property
    def busy_ratio(self) -> float:
        return sum(row.busy for row in self._rows) / len(self._rows)

    def longest_kept(self, token_ids: list[int]) -> int:
        """How many of `token_ids`, from the first on, some row has."""
        return max(common_prefix(row.tokens, token_ids) for row in self._rows)

    def take(self, token_ids: list[int]) -> Place | None:
        """The row where a sequence that begins with `token_ids` has least to compute; None: all are busy."""
        free = sorted((row for row in self._rows if not row.busy), key=lambda row: row.used_at)
        if not free:
            return None
        kept = {row.slot: common_prefix(row.tokens, token_ids) for row in self._rows}
        row = max(free, key=lambda row: kept[row.slot])
        if kept[row.slot] * WORTH_KEEPING < len(row.tokens):
            row = free[0]
        source = max(self._rows, key=lambda row: kept[row.slot])
        row.busy = True
        if kept[source.slot] - kept[row.slot] < COPY_TOKENS:
            return Place(row, kept[row.slot])
        row.tokens = source.tokens[: kept[source.slot]]
        return Place(row, len(row.tokens), Copy(source.slot, row.slot, len(row.tokens)))

    def release(self, row: Row) -> None:
        self._uses += 1
        row.busy = False
        row.used_at = self._uses


def common_prefix(first: list[int], second: list[int]) -> int:
    length = min(len(first), len(second))
    if first[:length] == second[:length]:  # at once, where one has all of the other
        return length
    return list(map(eq, first, second)).index(False)
