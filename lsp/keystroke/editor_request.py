"""One request of the editor, until it is answered or a newer one for the same document supersedes it."""

import asyncio
from contextlib import suppress


class EditorRequest:
    def __init__(self) -> None:
        self.superseded = False
        self.woken = asyncio.Event()

    def supersede(self) -> None:
        self.superseded = True
        self.woken.set()

    async def sleep(self, longest_s: float) -> None:
        """Until it is woken, or the time is over."""
        self.woken.clear()
        if not self.superseded:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), longest_s)
