"""The keystroke flow, top to bottom: trigger, cache, live stream, debounce, context, server, answer.

A newer request for the same document supersedes the older one, which is answered with nothing at once. Every
"nothing" has a reason, which goes to the status.
"""

import logging
import time
from collections.abc import Callable

from lsprotocol.types import Position, SelectedCompletionInfo

from acepilot.completion_cache import CompletionCache
from acepilot.protocol import CompletionRequest, Trail
from lsp.client import CompletionClient, ServerError
from lsp.keystroke import trigger
from lsp.keystroke.answer import NOTHING_TO_ADD, STALE, SUPERSEDED, Nothing, Suggestion, as_of_now
from lsp.keystroke.candidates import Candidates
from lsp.keystroke.context import Context
from lsp.keystroke.debounce import Debounce
from lsp.keystroke.editor_request import EditorRequest
from lsp.keystroke.follow import DivergedError, follow
from lsp.keystroke.shared_stream import SharedStream
from lsp.text.documents import Documents, Snapshot

CACHE_ENTRIES = 256
MAX_TOKENS = 96

logger = logging.getLogger("acepilot.lsp")


class Suggester:
    """Answers for all documents of one editor. Needs a running event loop."""

    def __init__(
        self,
        client: CompletionClient,
        documents: Documents,
        context: Context,
        *,
        time_budget_ms: int,
        report: Callable[[ServerError | None], None],
        explain: Callable[[str], None],
    ) -> None:
        self._client = client
        self._documents = documents
        self._context = context
        self._budget_s = time_budget_ms / 1000
        self._report = report
        self._explain = explain
        self._candidates = Candidates(client)
        self._cache = CompletionCache(CACHE_ENTRIES)
        self._model = ""
        self._last_id = ""
        self._debounce = Debounce()
        self._busy_until_s = 0.0
        self._turns: dict[str, EditorRequest] = {}
        self._lives: dict[str, SharedStream] = {}

    def key_pressed(self) -> None:
        self._debounce.key(time.monotonic() * 1000)
        self._candidates.drop()

    async def suggest(
        self, uri: str, position: Position, *, invoked: bool, selected: SelectedCompletionInfo | None = None
    ) -> list[Suggestion]:
        """The suggestion for this cursor, within the time budget; where `invoked`, with others to choose.

        Each goes on from the item that is `selected` in the editor's own menu, if there is one.
        """
        try:
            answer = await self._take_turn(uri, position, selected, invoked=invoked)
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
        """The server's record of what the last request was answered with; None where it has none."""
        if not self._last_id:
            return None
        try:
            return await self._client.explain(self._last_id)
        except ServerError as trouble:
            logger.info("The last completion cannot be explained. %s", trouble.message)
            return None

    def forget(self, uri: str) -> None:
        """The document was closed."""
        self._drop_live(uri)

    async def aclose(self) -> None:
        """Cancel all that is in flight, and wait until the server can know."""
        self._candidates.drop()
        lives, self._lives = list(self._lives.values()), {}
        for live in lives:
            await live.closed()

    async def _take_turn(
        self, uri: str, position: Position, selected: SelectedCompletionInfo | None, *, invoked: bool
    ) -> list[Suggestion] | Nothing:
        document = self._documents.get(uri)
        if document is None:
            return Nothing("The editor asked about a document that it has not opened here.")
        deadline_s = time.monotonic() + self._budget_s
        turn = EditorRequest()
        if (previous := self._turns.get(uri)) is not None:
            previous.supersede()
        self._turns[uri] = turn
        try:
            snapshot = document.snapshot(position, self._documents.encoding, selected)
            answer = await self._answer(snapshot, turn, deadline_s, invoked=invoked)
            first = as_of_now(answer, self._documents) if isinstance(answer, Suggestion) else answer
            if isinstance(first, Nothing):
                return first
            if not invoked:
                return [first]
            request = self._request(first.snapshot)
            found = [first, *await self._candidates.others(first, request, turn, deadline_s)]
        finally:
            if self._turns.get(uri) is turn:
                del self._turns[uri]
        if turn.superseded:
            return SUPERSEDED
        answers = [as_of_now(one, self._documents) for one in found]
        return [one for one in answers if isinstance(one, Suggestion)] or STALE

    async def _answer(
        self, snapshot: Snapshot, turn: EditorRequest, deadline_s: float, *, invoked: bool
    ) -> Suggestion | Nothing:
        refused = trigger.refusal(snapshot, invoked=invoked)
        if refused is not None:
            self._drop_live(snapshot.uri)
            return Nothing(refused)
        known = self._cache.get(snapshot.prefix, snapshot.suffix, self._salt(snapshot))
        if known is not None and (known.text or not invoked):
            if not known.text:
                return Nothing(NOTHING_TO_ADD, known.tag)
            return Suggestion(known.text, snapshot, known.tag, self._model)
        live = self._lives.get(snapshot.uri)
        if live is not None and not live.done and live.typed_since(snapshot) is not None:
            try:
                return await self._follow(live, snapshot, turn, deadline_s)
            except DivergedError:
                pass  # what came since contradicts what was typed: a fresh request, without further waiting
        else:
            self._drop_live(snapshot.uri)
            if not invoked and time.monotonic() < self._busy_until_s:
                return Nothing(
                    "The completion server is busy; automatic requests wait until it said to retry."
                )
            wait_s = self._debounce.wait_ms(snapshot.line_before, snapshot.line_after, invoked=invoked) / 1000
            await turn.sleep(wait_s)
        if turn.superseded:
            return SUPERSEDED
        live = self._start(snapshot)
        try:
            return await self._follow(live, snapshot, turn, deadline_s)
        except DivergedError:
            return Nothing(NOTHING_TO_ADD)

    async def _follow(
        self, live: SharedStream, snapshot: Snapshot, turn: EditorRequest, deadline_s: float
    ) -> Suggestion | Nothing:
        """Raises DivergedError as soon as the stream cannot answer `snapshot` any more."""
        try:
            return await follow(live, snapshot, turn, deadline_s)
        except TimeoutError:
            trouble = ServerError(
                "slow",
                f"No completion within {self._budget_s * 1000:.0f} ms: the server is slow or overloaded. "
                "Raise --time-budget-ms, or serve a smaller model.",
            )
        except ServerError as error:
            trouble = error
        if trouble.retry_after_s is not None:
            self._busy_until_s = time.monotonic() + trouble.retry_after_s
        self._report(trouble)
        return Nothing(trouble.message)

    def _start(self, snapshot: Snapshot) -> SharedStream:
        self._drop_live(snapshot.uri)
        live = SharedStream(self._client, self._request(snapshot), snapshot, self._keep)
        self._lives[snapshot.uri] = live
        return live

    def _request(self, snapshot: Snapshot) -> CompletionRequest:
        return CompletionRequest.model_validate(
            {
                "prompt": snapshot.prefix,
                "suffix": snapshot.suffix,
                "max_tokens": MAX_TOKENS,
                "language": snapshot.language or None,
                "path": self._context.path(snapshot.uri),
                "snippets": self._context.snippets(snapshot),
                "mode": "auto",
            }
        )

    def _keep(self, live: SharedStream) -> None:
        """A stream came to its end, watched or not."""
        final = live.final or ""
        self._model = live.model
        there = live.snapshot
        self._cache.put(there.prefix, there.suffix, self._salt(there), final, live.completion_id)
        self._debounce.answered(live.elapsed_ms)
        self._report(None)

    def _drop_live(self, uri: str) -> None:
        if (live := self._lives.pop(uri, None)) is not None:
            live.cancel()

    def _salt(self, snapshot: Snapshot) -> str:
        return f"{self._model}\n{snapshot.language}\n{snapshot.uri}"
