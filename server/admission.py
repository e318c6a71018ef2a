"""Limits how many sequences run in the engine and how many wait; refuses more with a time to try again.

Clients share the places fairly. A client that holds some leaves a few free for those that hold none, in the
engine and in the queue: so a client that floods the server delays its own requests. It leaves them free also
when it is alone: an editor that comes next would otherwise wait for a completion to end, some of which take a
minute. A place that comes free goes to an editor's request before a program's, then to the client with fewest
running sequences, in turn.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field

from acepilot.errors import BadRequest, Overloaded
from server.client import Client

RESERVE_SHARE = 8
"""1/RESERVE_SHARE of the places, rounded, is for clients that hold none: 2 of 16, and nothing of 3. A program
gets one of them, and the last half, rounded down, is for editors."""

SMOOTHING = 0.1
"""Weight of the newest duration in the running mean that Retry-After is estimated from."""

MAX_RETRY_AFTER_S = 60
"""Seconds. The estimate is rough, and a client that follows it sends nothing for that long."""


@dataclass(eq=False)
class _Waiter:
    client: Client
    is_editor: bool
    has_place: asyncio.Event = field(default_factory=asyncio.Event)


class Admission:
    """`reserved` holds a request's sequences in the queue; `place` holds one of them in the engine."""

    def __init__(self, max_streams: int, max_waiting: int, queue_timeout_s: float) -> None:
        self._max_streams = max_streams
        self._capacity = max_streams + max_waiting
        self._queue_timeout_s = queue_timeout_s
        self._reserved: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._line: list[_Waiter] = []
        self._turns = itertools.count(1)
        self._last_turn: dict[str, int] = {}
        self._starts: dict[_Waiter, float] = {}
        self._mean_held_s = 1.0

    @property
    def in_hand(self) -> int:
        return self._reserved.total()

    @property
    def active(self) -> int:
        return self._running.total()

    @property
    def waiting(self) -> int:
        return self.in_hand - self.active

    @contextlib.contextmanager
    def reserved(self, client: Client, sequences: int, *, is_editor: bool) -> Generator[None]:
        """Hold room in the queue for a request's `sequences` until the block ends.

        Raises Overloaded when the queue is full, BadRequest when it could never hold that many.
        """
        if sequences > self._capacity:
            raise BadRequest(
                f"The request needs {sequences} sequences, and this server takes {self._capacity} at a time. "
                "Ask for fewer choices.",
                field="n",
            )
        held = self._reserved[client.share]
        if not _may_take(held, self.in_hand, self._capacity, sequences, is_editor=is_editor):
            retry_after_s = self._retry_after_s(self.waiting + sequences)
            raise Overloaded(
                f"{self.active} completions are running and {self.waiting} wait, {held} of them yours: try "
                f"again in {retry_after_s} s, or raise max_waiting or max_streams.",
                retry_after_s=retry_after_s,
            )
        self._reserved[client.share] += sequences
        try:
            yield
        finally:
            self._reserved -= Counter({client.share: sequences})
            if not self._reserved[client.share]:
                self._last_turn.pop(client.share, None)

    @contextlib.asynccontextmanager
    async def place(self, client: Client, *, is_editor: bool) -> AsyncGenerator[float]:
        """Hold one place in the engine; yield the seconds waited for it. Raises Overloaded."""
        asked = time.perf_counter()
        waiter = _Waiter(client, is_editor)
        self._line.append(waiter)
        self._give_places()
        try:
            try:
                async with asyncio.timeout(self._queue_timeout_s):
                    await waiter.has_place.wait()
            except TimeoutError:
                raise Overloaded(
                    f"No place in the engine came free in {self._queue_timeout_s:.0f} s. Ask for fewer or "
                    "shorter completions at a time, or raise max_streams.",
                    retry_after_s=self._retry_after_s(1),
                ) from None
            yield time.perf_counter() - asked
        finally:
            if waiter.has_place.is_set():
                self._running -= Counter({client.share: 1})
                held_s = time.perf_counter() - self._starts.pop(waiter)
                self._mean_held_s += SMOOTHING * (held_s - self._mean_held_s)
                self._give_places()
            else:
                self._line.remove(waiter)

    def _give_places(self) -> None:
        while waiter := self._next():
            self._line.remove(waiter)
            self._running[waiter.client.share] += 1
            self._last_turn[waiter.client.share] = next(self._turns)
            self._starts[waiter] = time.perf_counter()
            waiter.has_place.set()

    def _next(self) -> _Waiter | None:
        """Return who gets a place now, or None. Among equals it is the one that waits longest."""

        def is_able(one: _Waiter) -> bool:
            held = self._running[one.client.share]
            return _may_take(held, self.active, self._max_streams, 1, is_editor=one.is_editor)

        def rank(one: _Waiter) -> tuple[bool, int, int]:
            share = one.client.share
            return not one.is_editor, self._running[share], self._last_turn.get(share, 0)

        return min(filter(is_able, self._line), key=rank, default=None)

    def _retry_after_s(self, ahead: int) -> int:
        """Estimate when `ahead` sequences have a place. Running ones that are late count as typical."""
        now = time.perf_counter()
        late_s = sum(now - start for start in self._starts.values()) / max(1, len(self._starts))
        rounds = math.ceil(ahead / self._max_streams)
        return min(MAX_RETRY_AFTER_S, math.ceil(rounds * max(self._mean_held_s, late_s, 1.0)))


def _may_take(held: int, taken: int, places: int, wanted: int, *, is_editor: bool) -> bool:
    """Return whether a client that holds `held` of the `taken` places may take `wanted` more."""
    if not taken:  # one request may need all places
        return wanted <= places
    reserve = (places + RESERVE_SHARE // 2) // RESERVE_SHARE
    if not held and is_editor:
        reserve = 0
    elif not held and wanted == 1:
        reserve //= 2
    return taken + wanted + reserve <= places
