"""Events on their way to the server: gathered for a moment, sent in batches, kept while it is away.

Nothing waits for this. Whatever is lost is counted, and said.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice

from acepilot.events import MAX_EVENTS, CompletionEvent, EventBatch
from lsp.client import ServerError

GATHER_S = 0.2
CAPACITY = 5_000
"""About two days of one developer's events."""
FIRST_RETRY_S = 1.0
SLOWEST_RETRY_S = 30.0

logger = logging.getLogger("acepilot.lsp")


class Outbox:
    """`post` sends a batch or raises ServerError; `log` gets a sentence for the editor's log."""

    def __init__(self, post: Callable[[EventBatch], Awaitable[None]], log: Callable[[str], None]) -> None:
        self._post = post
        self._log = log
        self._waiting: deque[CompletionEvent] = deque()
        self._something = asyncio.Event()
        self._pause_s = FIRST_RETRY_S
        self.dropped = 0
        self._told_dropped = 0

    def put(self, event: CompletionEvent) -> None:
        self._waiting.append(event)
        self._trim()
        self._something.set()

    async def run(self) -> None:
        """Send what comes, for ever."""
        while True:
            await self._something.wait()
            await asyncio.sleep(GATHER_S)
            try:
                await self._send()
            except ServerError as trouble:
                logger.info("%d events wait for the server. %s", len(self._waiting), trouble.message)
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(self._pause_s * 2, SLOWEST_RETRY_S)

    async def flush(self, within_s: float) -> None:
        """A last try, before the program ends."""
        try:
            async with asyncio.timeout(within_s):
                await self._send()
        except TimeoutError:
            self._drop_all("The completion server did not take them in time.")
        except ServerError as trouble:
            self._drop_all(trouble.message)

    async def _send(self) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, MAX_EVENTS))
            for _ in batch:
                self._waiting.popleft()
            try:
                await self._post(EventBatch(events=batch))
            except ServerError as trouble:
                if trouble.refused:
                    self._drop(len(batch), trouble.message)
                    continue
                self._put_back(batch)
                raise
            except BaseException:  # the program ends: flush tries once more
                self._put_back(batch)
                raise
            self._pause_s = FIRST_RETRY_S
        self._something.clear()

    def _put_back(self, batch: list[CompletionEvent]) -> None:
        self._waiting.extendleft(reversed(batch))
        self._trim()

    def _trim(self) -> None:
        over = len(self._waiting) - CAPACITY
        for _ in range(over):
            self._waiting.popleft()
        if over > 0:
            self._drop(over, "The completion server has been away for too long.")

    def _drop_all(self, why: str) -> None:
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._tell(why)

    def _drop(self, events: int, why: str) -> None:
        """Said at 1, 10, 100, ...: whoever looks sees how many, and no log is flooded."""
        self.dropped += events
        if self.dropped >= 10 * self._told_dropped:
            self._tell(why)

    def _tell(self, why: str) -> None:
        self._told_dropped = self.dropped
        self._log(f"Events about completions (counts, no code) dropped so far: {self.dropped}. {why}")
