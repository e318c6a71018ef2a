"""The keystroke flow in order: trigger, cache, shared stream, debounce, snippets, server, answer.

A newer request for the same document supersedes the older one, which is then answered with nothing at once.
Every answer without a suggestion has a reason, which the status shows.
"""

import logging
import time
from collections.abc import Callable
from typing import Literal

from lsprotocol.types import Position, SelectedCompletionInfo

from acepilot.completion_cache import CacheKey, CompletionCache, nearby_text_key
from acepilot.protocol import CompletionRequest
from acepilot.trail import Trail
from lsp.answers import ServerError
from lsp.client import CompletionClient
from lsp.keystroke.candidates import Candidates
from lsp.keystroke.debounce import Debounce
from lsp.keystroke.editor_request import NOTHING_TO_ADD, STALE, SUPERSEDED, EditorRequest, Nothing, rebased
from lsp.keystroke.shared_stream import DivergedError, SharedStream, follow
from lsp.keystroke.snippets import OpenFileSnippets
from lsp.keystroke.trigger import refusal
from lsp.suggestion import Suggestion
from lsp.text.documents import Documents, Snapshot
from lsp.text.positions import readable

CACHE_ENTRIES = 256
MAX_LANGUAGE_CHARS = 64  # of an editor's language id: the HTTP API's limit
MAX_TOKENS = 96  # of one suggestion: about ten lines of code

Step = Literal["request_sent", "cache_hit", "own_stream", "shared_stream"]
"""A request to the server, or an answer's source. A shared stream was started by an earlier request."""

logger = logging.getLogger("acepilot.lsp")


class Suggester:
    """Answers the requests for all documents of one editor. Needs a running event loop."""

    def __init__(
        self,
        client: CompletionClient,
        documents: Documents,
        snippets: OpenFileSnippets,
        *,
        time_budget_ms: int,
        report: Callable[[ServerError | None], None],
        explain: Callable[[str], None],
        cache: CompletionCache | None = None,
        debounce: Debounce | None = None,
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> None:
        """`report` gets the server's state after each response, `explain` the reason of each answer."""
        self._client = client
        self._documents = documents
        self._snippets = snippets
        self._budget_s = time_budget_ms / 1000
        self._report = report
        self._explain = explain
        self._candidates = Candidates(client)
        self._cache = CompletionCache(CACHE_ENTRIES) if cache is None else cache
        self._debounce = Debounce() if debounce is None else debounce
        self._on_step = on_step
        self._model = ""
        self._last_id = ""
        self._busy_until_s = 0.0
        self._paused = ""  # why automatic completions pause, and until when
        self._requests: dict[str, EditorRequest] = {}
        self._streams: dict[str, SharedStream] = {}

    def key_pressed(self) -> None:
        self._debounce.key(time.monotonic() * 1000)
        self._candidates.drop()

    async def suggest(
        self, uri: str, position: Position, *, invoked: bool, selected: SelectedCompletionInfo | None = None
    ) -> list[Suggestion]:
        """Return the suggestion for this cursor within the time budget, and other candidates if `invoked`.

        Each suggestion continues the item that is `selected` in the editor's own menu, if there is one.
        """
        try:
            answer = await self._serve(uri, position, selected, invoked=invoked)
        except Exception as error:
            logger.exception("A completion failed for an unexpected reason.")
            message = f"Acepilot's language server failed ({type(error).__name__}); please report it."
            self._report(ServerError("error", message))
            answer = Nothing(message)
        if isinstance(answer, list):
            self._last_id = answer[0].id
            many = len(answer) > 1
            self._explain(f"{len(answer)} candidates were offered." if many else "A completion was offered.")
            return answer
        if answer is not SUPERSEDED:
            self._last_id = answer.id
            self._explain(answer.reason)
        return []

    async def last_trail(self) -> Trail | None:
        """Return the server's record of the last answer, or None if the server has none."""
        if not self._last_id:
            return None
        try:
            return await self._client.explain(self._last_id)
        except ServerError as error:
            logger.info("The last completion cannot be explained. %s", error.message)
            return None

    def forget(self, uri: str) -> None:
        """Cancel what is in flight for a document that was closed, or whose text has changed."""
        if (stream := self._streams.pop(uri, None)) is not None:
            stream.cancel()

    async def aclose(self) -> None:
        """Cancel everything in flight, and wait until the connections are closed."""
        self._candidates.drop()
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            await stream.closed()

    async def _serve(
        self, uri: str, position: Position, selected: SelectedCompletionInfo | None, *, invoked: bool
    ) -> list[Suggestion] | Nothing:
        document = self._documents.get(uri)
        if document is None:
            return Nothing("The editor asked about a document that it has not opened here.")
        deadline_s = time.monotonic() + self._budget_s
        editor_request = EditorRequest()
        if (previous := self._requests.get(uri)) is not None:
            previous.supersede()
        self._requests[uri] = editor_request
        try:
            snapshot = document.snapshot(position, self._documents.encoding, selected)
            answer = await self._answer(snapshot, editor_request, deadline_s, invoked=invoked)
            first = rebased(answer, self._documents) if isinstance(answer, Suggestion) else answer
            if isinstance(first, Nothing):
                return first
            if not invoked:
                return [first]
            request = self._request(first.snapshot)
            found = [first, *await self._candidates.others(first, request, editor_request, deadline_s)]
        finally:
            if self._requests.get(uri) is editor_request:
                del self._requests[uri]
        if editor_request.superseded:
            return SUPERSEDED
        answers = [rebased(one, self._documents) for one in found]
        return [one for one in answers if isinstance(one, Suggestion)] or STALE

    async def _answer(
        self, snapshot: Snapshot, editor_request: EditorRequest, deadline_s: float, *, invoked: bool
    ) -> Suggestion | Nothing:
        refused = refusal(snapshot, invoked=invoked)
        if refused is not None:
            self.forget(snapshot.uri)
            return Nothing(refused)
        known = self._cache.get(self._cache_key(snapshot))
        if known is not None and (known.text or not invoked):
            self._on_step("cache_hit")
            if not known.text:
                return Nothing(NOTHING_TO_ADD, known.tag)
            return Suggestion(known.text, snapshot, known.tag, self._model)
        stream = self._streams.get(snapshot.uri)
        if stream is not None and not stream.done and stream.typed_since(snapshot) is not None:
            try:
                return await self._follow(stream, snapshot, editor_request, deadline_s)
            except DivergedError:
                pass  # ask the server again at once, without a debounce
        else:
            self.forget(snapshot.uri)
            if not invoked and time.monotonic() < self._busy_until_s:
                return Nothing(self._paused)
            wait_s = self._debounce.wait_ms(snapshot.line_before, snapshot.line_after, invoked=invoked) / 1000
            await editor_request.sleep(wait_s)
        if editor_request.superseded:
            return SUPERSEDED
        self.forget(snapshot.uri)
        self._on_step("request_sent")
        stream = SharedStream(self._client, self._request(snapshot), snapshot, self._keep)
        self._streams[snapshot.uri] = stream
        try:
            return await self._follow(stream, snapshot, editor_request, deadline_s)
        except DivergedError:
            return Nothing(NOTHING_TO_ADD)

    async def _follow(
        self, stream: SharedStream, snapshot: Snapshot, editor_request: EditorRequest, deadline_s: float
    ) -> Suggestion | Nothing:
        """Return the stream's answer. Raises DivergedError once it cannot answer `snapshot` any more."""
        try:
            answer = await follow(stream, snapshot, editor_request, deadline_s)
        except (TimeoutError, ServerError) as error:
            answer = self._failed(error)
        if answer is not SUPERSEDED:
            is_own = stream.snapshot.version == snapshot.version
            self._on_step("own_stream" if is_own else "shared_stream")
        return answer

    def _failed(self, error: TimeoutError | ServerError) -> Nothing:
        if isinstance(error, TimeoutError):
            error = ServerError(
                "slow",
                f"No completion within {self._budget_s * 1000:.0f} ms: the server is slow or overloaded. "
                "Raise --time-budget-ms, or serve a smaller model.",
            )
        self._report(error)
        if error.retry_after_s is None:
            return Nothing(error.message)
        self._busy_until_s = time.monotonic() + error.retry_after_s
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + error.retry_after_s))
        self._paused = f"{error.message} Automatic completions pause until {until}, as it asks."
        return Nothing(self._paused)

    def _request(self, snapshot: Snapshot) -> CompletionRequest:
        return CompletionRequest.model_validate(
            {
                "prompt": snapshot.prefix,
                "suffix": snapshot.suffix,
                "max_tokens": MAX_TOKENS,
                "language": readable(snapshot.language[:MAX_LANGUAGE_CHARS]) or None,
                "path": self._snippets.path(snapshot.uri),
                "snippets": self._snippets.near(snapshot),
                "mode": "auto",
            }
        )

    def _keep(self, stream: SharedStream) -> None:
        """Put a stream's final text into the cache, whether a request still watches it or not."""
        final = stream.final or ""
        self._model = stream.model
        self._cache.put(self._cache_key(stream.snapshot), final, stream.completion_id)
        self._debounce.answered(stream.elapsed_ms)
        self._busy_until_s = 0.0
        self._report(None)

    def _cache_key(self, snapshot: Snapshot) -> CacheKey:
        salt = f"{self._model}\n{snapshot.language}\n{snapshot.uri}"
        return nearby_text_key(snapshot.prefix, snapshot.suffix, salt)
