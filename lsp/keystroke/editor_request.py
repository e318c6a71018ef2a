"""One request of the editor, until it is answered or a newer request for the same document replaces it."""

import asyncio
from contextlib import suppress


class EditorRequest:
    """Lets the steps of one request sleep until there is news for them, or a newer request arrives."""

    def __init__(self) -> None:
        self.superseded = False
        self.woken = asyncio.Event()

    def supersede(self) -> None:
        self.superseded = True
        self.woken.set()

    async def sleep(self, longest_s: float) -> None:
        """Return when `woken` is set, or after `longest_s` seconds."""
        self.woken.clear()
        if not self.superseded:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), longest_s)
