"""A thread with an event loop of its own, in which all talk with upstream servers happens.

The connections, the health checks and the counts of what is in flight then belong to one loop, whichever loop
asks for a completion, and need no lock.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from acepilot.errors import AcepilotError, EngineFailed

_T = TypeVar("_T")
STOP_TIMEOUT_S = 5.0
SETTLE_S = 0.02
"""Before all is cancelled: anyio (4.16) warns of a connection that is cancelled in its very first tick, as a
health check's may be."""


class LoopThread:
    """Runs coroutines and streams in its own loop until `close`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Blocks until it is done: not for use in an event loop."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def stream(self, source: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
        """Yields what `source`, running in the thread, yields; closing this closes it there.

        Raises what the source raises, and EngineFailed after `close`.
        """
        if self._closed:
            raise EngineFailed("The engine was closed.")
        home = asyncio.get_running_loop()
        arrived: asyncio.Queue[_T | AcepilotError | None] = asyncio.Queue()

        def deliver(item: _T | AcepilotError | None) -> None:
            with contextlib.suppress(RuntimeError):  # that loop has ended, and nobody listens any more
                home.call_soon_threadsafe(arrived.put_nowait, item)

        async def forward() -> None:
            try:
                async with contextlib.aclosing(source):
                    async for item in source:
                        deliver(item)
                deliver(None)
            except AcepilotError as error:
                deliver(error)
            except asyncio.CancelledError:  # nobody listens any more; or `close`, and then somebody does
                deliver(EngineFailed("The engine was closed."))
                raise
            except Exception as error:  # whoever waits must hear of it; its text may quote code
                deliver(EngineFailed(f"The engine broke ({type(error).__name__})."))

        forwarding = asyncio.run_coroutine_threadsafe(forward(), self._loop)
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, AcepilotError):
                    raise item
                yield item
        finally:
            forwarding.cancel()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancels everything that runs there, then does `last` there."""
        if self._closed:
            return
        self._closed = True
        self.run(self._cancel_all())
        self.run(last())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_TIMEOUT_S)
        self._loop.close()

    async def _cancel_all(self) -> None:
        await asyncio.sleep(SETTLE_S)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
