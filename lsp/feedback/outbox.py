"""The queue of events for the server. Events are sent in batches, and kept while the server is unreachable.

Nothing waits for this queue. Dropped events are counted, and the count is logged.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice

from acepilot.events import MAX_EVENTS, CompletionEvent, EventBatch
from lsp.answers import ServerError

GATHER_S = 0.2  # an event waits this long for others to share its batch
CAPACITY = 5_000  # events: about two days of one developer's work
FIRST_RETRY_S = 1.0  # the pause doubles after each failure, up to SLOWEST_RETRY_S
SLOWEST_RETRY_S = 30.0

logger = logging.getLogger("acepilot.lsp")


class Outbox:
    """`post` sends a batch or raises ServerError; `log` gets a sentence for the editor's log."""

    def __init__(self, post: Callable[[EventBatch], Awaitable[None]], log: Callable[[str], None]) -> None:
        self._post = post
        self._log = log
        self._waiting: deque[CompletionEvent] = deque()
        self._has_events = asyncio.Event()
        self._pause_s = FIRST_RETRY_S
        self.dropped = 0
        self._logged_dropped = 0

    def put(self, event: CompletionEvent) -> None:
        self._waiting.append(event)
        self._trim()
        self._has_events.set()

    async def run(self) -> None:
        """Send events as they come, until cancelled."""
        while True:
            await self._has_events.wait()
            await asyncio.sleep(GATHER_S)
            try:
                await self._send()
            except ServerError as error:
                logger.info("%d events wait for the server. %s", len(self._waiting), error.message)
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(self._pause_s * 2, SLOWEST_RETRY_S)

    async def flush(self, within_s: float) -> None:
        """Send the remaining events once more before the program ends, and drop those that cannot be sent."""
        try:
            async with asyncio.timeout(within_s):
                await self._send()
        except TimeoutError:
            why = "The completion server did not take them in time."
        except ServerError as error:
            why = error.message
        else:
            return
        self._drop(len(self._waiting), why, is_last=True)
        self._waiting.clear()

    async def _send(self) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, MAX_EVENTS))
            for _ in batch:
                self._waiting.popleft()
            try:
                await self._post(EventBatch(events=batch))
            except BaseException as error:  # the server fails, or the program ends: try again later
                if isinstance(error, ServerError) and error.refused:
                    self._drop(len(batch), error.message)
                    continue
                self._waiting.extendleft(reversed(batch))
                self._trim()
                raise
            self._pause_s = FIRST_RETRY_S
        self._has_events.clear()

    def _trim(self) -> None:
        over = len(self._waiting) - CAPACITY
        for _ in range(over):
            self._waiting.popleft()
        if over > 0:
            self._drop(over, "The completion server has been unreachable for too long.")

    def _drop(self, events: int, why: str, *, is_last: bool = False) -> None:
        """Count dropped events; log the count at 1, 10, 100, ... and at last, so that the log stays short."""
        self.dropped += events
        if is_last or self.dropped >= 10 * self._logged_dropped:
            self._logged_dropped = self.dropped
            self._log(f"Events about completions (counts, no code) dropped so far: {self.dropped}. {why}")
