"""A completion being generated, which several requests may share: a step of the keystroke flow.

While the user types the characters of a suggestion that is still being generated, each key's request joins
the existing stream instead of starting a new one. A stream that no request watches any more is cancelled
after GRACE_S.

`follow` waits for one request's answer. The best answer is the complete text. If that takes long, the first
whole lines are shown without the rest; the rest is in the cache by the time that the user has accepted them.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing

from acepilot.completion_cache import same_suffix
from acepilot.protocol import CompletionRequest
from lsp.answers import ServerError
from lsp.client import CompletionClient
from lsp.keystroke.editor_request import NOTHING_TO_ADD, SUPERSEDED, EditorRequest, Nothing
from lsp.suggestion import Suggestion
from lsp.text.documents import Snapshot

GRACE_S = 0.25  # an editor that cancels a request usually sends the next one, a character later, at once
WHOLE_TEXT_S = 0.75  # from the stream's start; after it, the whole lines received so far are an answer

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


class DivergedError(Exception):
    """The user typed something other than the stream's text: the server must be asked again."""


async def follow(
    stream: SharedStream, snapshot: Snapshot, editor_request: EditorRequest, deadline_s: float
) -> Suggestion | Nothing:
    """Return the stream's answer for `snapshot`, which may be some keys later than the stream's own.

    Raises DivergedError as soon as the stream cannot answer there any more, ServerError if the stream broke,
    and TimeoutError at the deadline if no line is whole by then; the stream then goes on, for the cache.
    """
    stream.join(editor_request.woken)
    finish = False
    try:
        while not stream.done and not editor_request.superseded:
            if (typed := stream.typed_since(snapshot)) is None:
                raise DivergedError
            now_s, lines_at_s = time.monotonic(), stream.began_s + WHOLE_TEXT_S
            if now_s >= min(lines_at_s, deadline_s) and (lines := _whole_lines(stream.text, typed)):
                finish = True
                return Suggestion(lines, snapshot, stream.completion_id, stream.model)
            if now_s >= deadline_s:
                finish = True
                raise TimeoutError
            until_s = lines_at_s if now_s < lines_at_s < deadline_s else deadline_s
            await editor_request.sleep(until_s - now_s)
    finally:
        stream.leave(editor_request.woken, finish=finish)
    if editor_request.superseded:
        return SUPERSEDED
    if stream.error is not None:
        raise stream.error
    if stream.final is None:
        return Nothing("The request was cancelled.")
    typed = stream.typed_since(snapshot)
    if typed is not None and len(stream.final) > len(typed):
        return Suggestion(stream.final[len(typed) :], snapshot, stream.completion_id, stream.model)
    if typed == "":
        return Nothing(stream.reason or NOTHING_TO_ADD, stream.completion_id)
    raise DivergedError


def _whole_lines(text: str, typed: str) -> str:
    """Return the whole lines of `text` after `typed`, or "" if they hold only white space."""
    lines = text[len(typed) : max(text.rfind("\n"), len(typed))]
    return lines if lines.strip() else ""
