"""Limits how many sequences run in the engine and how many wait; refuses more with a time to try again."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Generator

from acepilot.errors import BadRequest, Overloaded

SMOOTHING = 0.1
"""Weight of the newest duration in the running mean that Retry-After is estimated from."""


class Admission:
    """`reserved` holds a request's sequences in the queue; `place` holds one of them in the engine."""

    def __init__(self, max_streams: int, max_waiting: int, queue_timeout_s: float) -> None:
        self._max_streams = max_streams
        self._capacity = max_streams + max_waiting
        self._queue_timeout_s = queue_timeout_s
        self._places = asyncio.Semaphore(max_streams)
        self._mean_held_s = 1.0
        self.in_hand = 0
        self.active = 0

    @property
    def waiting(self) -> int:
        return self.in_hand - self.active

    @contextlib.contextmanager
    def reserved(self, sequences: int) -> Generator[None]:
        """Hold room in the queue for a request's `sequences` until the block ends.

        Raises Overloaded when the queue is full, BadRequest when it could never hold that many.
        """
        if sequences > self._capacity:
            raise BadRequest(
                f"The request needs {sequences} sequences, and this server takes {self._capacity} at a time. "
                "Ask for fewer choices.",
                field="n",
            )
        if self.in_hand + sequences > self._capacity:
            rounds = math.ceil((self.waiting + sequences) / self._max_streams)
            retry_after_s = max(1, math.ceil(rounds * self._mean_held_s))
            raise Overloaded(
                f"{self.active} completions are running and {self.waiting} wait: try again in "
                f"{retry_after_s} s, or raise max_waiting or max_streams.",
                retry_after_s=retry_after_s,
            )
        self.in_hand += sequences
        try:
            yield
        finally:
            self.in_hand -= sequences

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncGenerator[float]:
        """Hold one place in the engine; yield the seconds waited for it. Raises Overloaded."""
        asked = time.perf_counter()
        try:
            async with asyncio.timeout(self._queue_timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise Overloaded(
                f"No place in the engine came free in {self._queue_timeout_s:.0f} s. Ask for fewer or "
                "shorter completions at a time, or raise max_streams.",
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
