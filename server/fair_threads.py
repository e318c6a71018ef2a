"""Runs the work on requests' texts in a few threads, which the clients share fairly.

Threads share the interpreter's lock: each one that works slows down all others, and the event loop. So only
THREADS of them work at once, each for another client, and clients take turns.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from server.client import Client

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2
"""One for a client that sends too much, and one for the others."""


class FairThreads:
    """`waiting` counts each client's calls of `run` that have not ended, by `Client.share`."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self._executor = ThreadPoolExecutor(THREADS, "request-text")
        self._free = asyncio.Semaphore(THREADS)  # first come, first served, and each client comes once
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns. It keeps its thread to the end, also if the caller is cancelled."""
        turn = self._turns.setdefault(client.share, asyncio.Lock())
        self.waiting[client.share] += 1
        with contextlib.ExitStack() as stack:
            stack.callback(self._leave, client.share)
            await turn.acquire()
            stack.callback(turn.release)
            await self._free.acquire()
            stack.callback(self._free.release)
            loop = asyncio.get_running_loop()
            working = loop.run_in_executor(self._executor, partial(work, *args, **kwargs))
            held = stack.pop_all()
        working.add_done_callback(lambda _: held.close())
        return await asyncio.shield(working)

    def _leave(self, share: str) -> None:
        self.waiting -= Counter({share: 1})
