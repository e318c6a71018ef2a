"""Bounds concurrency: so many sequences in the engine, so many waiting, and a clear refusal beyond."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from acepilot.errors import Overloaded

SMOOTHING = 0.1
"""Weight of the newest duration in the running mean that Retry-After is estimated from."""


class Admission:
    def __init__(self, max_streams: int, max_waiting: int) -> None:
        self._max_streams = max_streams
        self._max_waiting = max_waiting
        self._places = asyncio.Semaphore(max_streams)
        self._mean_held_s = 1.0
        self.waiting = 0
        self.active = 0

    def check(self, sequences: int) -> None:
        """Raises Overloaded when `sequences` more would not even find a place in the queue."""
        free = self._max_streams - self.active
        if self.waiting + sequences > max(free, 0) + self._max_waiting:
            rounds = math.ceil((self.waiting + sequences) / self._max_streams)
            retry_after_s = max(1, math.ceil(rounds * self._mean_held_s))
            raise Overloaded(
                f"{self.active} completions are running and {self.waiting} wait: try again in "
                f"{retry_after_s} s, or raise max_waiting or max_streams.",
                retry_after_s=retry_after_s,
            )

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[float]:
        """Holds one place in the engine; yields how long it was waited for, in seconds."""
        asked = time.perf_counter()
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.active += 1
        began = time.perf_counter()
        try:
            yield began - asked
        finally:
            self.active -= 1
            self._places.release()
            held_s = time.perf_counter() - began
            self._mean_held_s += SMOOTHING * (held_s - self._mean_held_s)
