"""A completion being generated, which several requests may share: a step of the keystroke flow.

While the user types the characters of a suggestion that is still being generated, each key's request joins
the existing stream instead of starting a new one. A stream that no request watches any more is cancelled
after GRACE_S.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing

from acepilot.completion_cache import same_suffix
from acepilot.protocol import CompletionRequest
from lsp.client import CompletionClient, ServerError
from lsp.text.documents import Snapshot

GRACE_S = 0.25  # an editor that cancels a request usually sends the next one, a character later, at once

logger = logging.getLogger("acepilot.lsp")


class SharedStream:
    """Reads one response to its end. `text` is what has arrived so far, `final` the server's final text."""

    def __init__(
        self,
        client: CompletionClient,
        request: CompletionRequest,
        snapshot: Snapshot,
        on_final: Callable[["SharedStream"], None],
    ) -> None:
        self.snapshot = snapshot
        self.text = ""
        self.final: str | None = None
        self.error: ServerError | None = None
        self.done = False
        self.completion_id = ""
        self.model = ""
        self.reason = ""
        self.began_s = time.monotonic()
        self.elapsed_ms = 0.0
        self._on_final = on_final
        self._watchers: set[asyncio.Event] = set()
        self._grace: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._read(client, request))

    def typed_since(self, now: Snapshot) -> str | None:
        """Return what the user typed between the request and `now`, or None if this stream cannot answer."""
        if not now.prefix.startswith(self.snapshot.prefix):
            return None
        typed = now.prefix[len(self.snapshot.prefix) :]
        if not same_suffix(self.snapshot.suffix, now.suffix, typed):
            return None
        if self.final is not None:
            return typed if self.final.startswith(typed) else None
        return typed if self.text.startswith(typed) or typed.startswith(self.text) else None

    def join(self, woken: asyncio.Event) -> None:
        """Set `woken` from now on whenever more text has arrived, and at the end."""
        self._watchers.add(woken)
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def leave(self, woken: asyncio.Event, *, finish: bool) -> None:
        """Remove a watcher. With `finish`, the stream is read to its end for the cache, even unwatched."""
        self._watchers.discard(woken)
        if not self._watchers and not self.done and not finish:
            self._grace = asyncio.get_running_loop().call_later(GRACE_S, self.cancel)

    def cancel(self) -> None:
        """Close the connection, which frees the server's slot."""
        self._task.cancel()

    async def closed(self) -> None:
        """Cancel, and wait until the connection is closed."""
        self.cancel()
        await asyncio.wait([self._task])

    async def _read(self, client: CompletionClient, request: CompletionRequest) -> None:
        try:
            async with aclosing(client.stream(request)) as chunks:
                async for chunk in chunks:
                    self.completion_id, self.model = chunk.id, chunk.model
                    if chunk.choices:
                        self.text += chunk.choices[0].text
                    if chunk.acepilot is not None:
                        self.reason = chunk.acepilot.reason or self.reason
                        self.final = chunk.acepilot.text if chunk.acepilot.text is not None else self.final
                    if self.final is not None:  # before the connection ends: no request waits for that
                        self._finish()
                    self._wake()
            self._finish()
        except ServerError as error:
            self.error = None if self.done else error
        except Exception as error:
            logger.exception("A completion failed for an unexpected reason.")
            self.error = ServerError("error", f"Acepilot's language server failed ({type(error).__name__}).")
        finally:
            self.done = True
            self._wake()

    def _finish(self) -> None:
        """Hand the final text to `on_final`, once."""
        if self.done:
            return
        self.final = self.text if self.final is None else self.final
        self.elapsed_ms = (time.monotonic() - self.began_s) * 1000
        self._on_final(self)
        self.done = True

    def _wake(self) -> None:
        for woken in self._watchers:
            woken.set()
