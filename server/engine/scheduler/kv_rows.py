"""Chooses the row of the KV cache for a new sequence, so that little is computed twice.

A row keeps its tokens after its sequence has ended, and a prompt with the same beginning continues there. If
that row is still in use, or the prompt would overwrite most of it, the beginning is copied to another row.
Rows with another `cache_salt` are never compared: how soon a text is read would tell that somebody sent it.
A row is taken from the client that has most of them: so no client makes the prompts of all others cold.
"""

from collections import Counter
from dataclasses import dataclass, field
from operator import eq

from server.engine.base import CLIENT_CHARS

COPY_TOKENS = 32
"""A beginning is copied from this many tokens on: a shorter one is computed faster than copied."""

WORTH_KEEPING = 4
"""A prompt reuses a row only if it shares at least 1/WORTH_KEEPING of the row's tokens. While a user types,
the prompt shares everything above the cursor; another file with the same licence header shares little."""


@dataclass
class Row:
    """`tokens` are exactly those that were computed into the row, including drafts that were wrong."""

    slot: int
    cache_salt: str = ""
    tokens: list[int] = field(default_factory=list[int])
    busy: bool = False
    used_at: int = 0

    @property
    def client(self) -> str:
        return self.cache_salt[:CLIENT_CHARS]


@dataclass(frozen=True)
class Place:
    """A new sequence's row. Its first `reused` tokens are in it, or to be copied from row `source` if set."""

    row: Row
    reused: int
    source: int | None = None


class Rows:
    """All rows of the cache. Without `prefix_cache`, no sequence reuses the tokens of another one."""

    def __init__(self, slots: int, *, prefix_cache: bool = True) -> None:
        self.prefix_cache = prefix_cache
        self.all = [Row(slot) for slot in range(slots)]
        self._uses = 0

    @property
    def busy_ratio(self) -> float:
        return sum(row.busy for row in self.all) / len(self.all)

    def longest_kept(self, token_ids: list[int], cache_salt: str = "") -> int:
        """Return the length of the longest beginning of `token_ids` that a row has."""
        return max(self._kept(row, token_ids, cache_salt) for row in self.all)

    def take(self, token_ids: list[int], cache_salt: str = "") -> Place | None:
        """Take the free row where a prompt has least to compute. Returns None if all rows are busy."""
        held = Counter(row.client for row in self.all if row.used_at or row.busy)
        free = sorted(
            (row for row in self.all if not row.busy),
            key=lambda row: (bool(row.used_at), -held[row.client], row.used_at),
        )
        if not free:
            return None
        kept = {row.slot: self._kept(row, token_ids, cache_salt) for row in self.all}
        row = max(free, key=lambda row: kept[row.slot])
        if kept[row.slot] * WORTH_KEEPING < len(row.tokens):
            row = free[0]
        source = max(self.all, key=lambda row: kept[row.slot])
        row.busy = True
        if row.cache_salt != cache_salt:
            row.cache_salt, row.tokens = cache_salt, []
        if kept[source.slot] - kept[row.slot] < COPY_TOKENS:
            return Place(row, kept[row.slot])
        row.tokens = source.tokens[: kept[source.slot]]
        return Place(row, len(row.tokens), source.slot)

    def release(self, row: Row) -> None:
        self._uses += 1
        row.busy = False
        row.used_at = self._uses

    def _kept(self, row: Row, token_ids: list[int], cache_salt: str) -> int:
        is_shared = self.prefix_cache and row.cache_salt == cache_salt
        return common_prefix(row.tokens, token_ids) if is_shared else 0


def common_prefix(first: list[int], second: list[int]) -> int:
    """Return the number of tokens that both lists begin with."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:  # one list begins with all of the other: no need for a search
        return length
    return list(map(eq, first, second)).index(False)
