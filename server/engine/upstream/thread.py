"""A thread with an event loop of its own, in which all communication with upstream servers takes place.

So the connections, the health checks and the counts of requests in flight belong to one event loop, whichever
event loop asks for a completion, and need no lock.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from acepilot.errors import AcepilotError, EngineFailed
from server.engine.inbox import Inbox

_T = TypeVar("_T")

STOP_TIMEOUT_S = 5.0
"""Seconds to wait for each step of `close`. The thread is a daemon, and blocks no exit."""

SETTLE_S = 0.02
"""Seconds before `close` cancels everything: anyio (4.16) warns about a connection that is cancelled in its
first tick, as a health check's connection may be."""

Send = Callable[[_T], None]


class LoopThread:
    """Runs coroutines in its own event loop until `close`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Block until `work` is done: not for use in an event loop."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @contextlib.contextmanager
    def receive(
        self, work: Callable[[Send[_T]], Coroutine[Any, Any, None]]
    ) -> Generator[Inbox[_T | None], None, None]:
        """Run `work` in the thread, and yield the inbox for the items that it sends. None ends them.

        The inbox raises an AcepilotError of `work`, and EngineFailed for other errors and after `close`.
        Leaving the context cancels `work`.
        """
        if self._closed:
            raise EngineFailed("The engine was closed.")
        inbox: Inbox[_T | None] = Inbox()

        async def run() -> None:
            try:
                await work(inbox.put)
                inbox.put(None)
            except AcepilotError as error:
                inbox.put(error)
            except asyncio.CancelledError:  # by `close`; or because the context was left, and nobody receives
                inbox.put(EngineFailed("The engine was closed."))
                raise
            except Exception as error:  # the receiver must not wait for ever; the text may quote code
                inbox.put(EngineFailed(f"The engine failed unexpectedly ({type(error).__name__})."))

        running = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            yield inbox
        finally:
            running.cancel()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel everything that runs in the thread, then run `last` there."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):  # a connection that cannot be closed ends with the process
            for work in (self._cancel_all, last):
                asyncio.run_coroutine_threadsafe(work(), self._loop).result(STOP_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_TIMEOUT_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _cancel_all(self) -> None:
        await asyncio.sleep(SETTLE_S)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
