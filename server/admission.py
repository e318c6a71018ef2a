"""Bounds concurrency: so many sequences in the engine, so many waiting, and a clear refusal beyond."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from acepilot.errors import BadRequest, Overloaded

QUEUE_S = 300.0
"""No editor waits that long; a program that sends many long requests at once may."""

SMOOTHING = 0.1
"""Weight of the newest duration in the running mean that Retry-After is estimated from."""


class Admission:
    """`reserve` a place in the queue for a request, `release` it at the end; `place` is one in the engine."""

    def __init__(self, max_streams: int, max_waiting: int) -> None:
        self._max_streams = max_streams
        self._capacity = max_streams + max_waiting
        self._places = asyncio.Semaphore(max_streams)
        self._mean_held_s = 1.0
        self._reserved = 0
        self.active = 0

    @property
    def waiting(self) -> int:
        return self._reserved - self.active

    def reserve(self, sequences: int) -> None:
        """Raises Overloaded when the queue is full, BadRequest when so many could never fit."""
        if sequences > self._capacity:
            raise BadRequest(
                f"This server takes {self._capacity} sequences at a time: ask for fewer.", field="n"
            )
        if self._reserved + sequences > self._capacity:
            rounds = math.ceil((self.waiting + sequences) / self._max_streams)
            retry_after_s = max(1, math.ceil(rounds * self._mean_held_s))
            raise Overloaded(
                f"{self.active} completions are running and {self.waiting} wait: try again in "
                f"{retry_after_s} s, or raise max_waiting or max_streams.",
                retry_after_s=retry_after_s,
            )
        self._reserved += sequences

    def release(self, sequences: int) -> None:
        self._reserved -= sequences

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[float]:
        """Holds one place in the engine; yields how long it was waited for, in seconds. Raises Overloaded."""
        asked = time.perf_counter()
        try:
            async with asyncio.timeout(QUEUE_S):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(
                f"No place came free in {QUEUE_S:.0f} s: ask for fewer or shorter completions at a time, or "
                "raise max_streams.",
                retry_after_s=max(1, math.ceil(self._mean_held_s)),
            ) from None
        began = time.perf_counter()
        self.active += 1
        try:
            yield began - asked
        finally:
            self.active -= 1
            self._places.release()
            held_s = time.perf_counter() - began
            self._mean_held_s += SMOOTHING * (held_s - self._mean_held_s)
