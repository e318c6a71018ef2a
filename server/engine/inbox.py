"""Items on their way from a thread that computes to the coroutine that streams them."""

import asyncio
import contextlib
from typing import Generic, TypeVar

from acepilot.errors import AcepilotError

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """A queue from any thread into the event loop in which it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[_T | AcepilotError] = asyncio.Queue()

    def put(self, item: _T | AcepilotError) -> None:
        """Add an item, from any thread. An item for an event loop that has ended is dropped."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    async def get(self) -> _T:
        """Wait for the next item. Raises the item if it is an AcepilotError."""
        item = await self._items.get()
        if isinstance(item, AcepilotError):
            raise item
        return item
