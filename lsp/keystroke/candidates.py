"""More than one suggestion for whoever asks by hand: what an editor's "next candidate" goes through.

The first is always what an automatic request gets, so that what is on the screen stays first. The others
are sampled, in one request that finds the prompt in the server's KV cache. The first waits for them a moment
only; what comes later is there when the editor asks again at the same place.
"""

import asyncio
import logging
import time

from acepilot.protocol import CompletionRequest
from lsp.client import CompletionClient, ServerError
from lsp.keystroke.answer import Suggestion
from lsp.keystroke.editor_request import EditorRequest

CANDIDATES = 3
TEMPERATURE = 0.7
TOP_P = 0.95
PATIENCE_S = 2.0

logger = logging.getLogger("acepilot.lsp")


class Candidates:
    """The others to one suggestion, asked for once."""

    def __init__(self, client: CompletionClient) -> None:
        self._client = client
        self._first: Suggestion | None = None
        self._asking: asyncio.Task[list[Suggestion]] | None = None

    async def others(
        self, first: Suggestion, request: CompletionRequest, turn: EditorRequest, deadline_s: float
    ) -> list[Suggestion]:
        """Up to `CANDIDATES` - 1 more, all different. `request` is the one that `first` answers."""
        if self._asking is None or self._first != first:
            self.drop()
            self._first = first
            self._asking = asyncio.create_task(self._ask(first, request))
        asking = self._asking
        asking.add_done_callback(lambda _: turn.woken.set())
        deadline_s = min(deadline_s, time.monotonic() + PATIENCE_S)
        try:
            while not asking.done() and not turn.superseded and (left_s := deadline_s - time.monotonic()) > 0:
                await turn.sleep(left_s)
        except asyncio.CancelledError:
            self.drop()
            raise
        return asking.result() if asking.done() and not asking.cancelled() else []

    def drop(self) -> None:
        """The text changed, or nobody is there any more: frees the server."""
        if self._asking is not None:
            self._asking.cancel()
        self._first = self._asking = None

    async def _ask(self, first: Suggestion, request: CompletionRequest) -> list[Suggestion]:
        sampled = {"n": CANDIDATES - 1, "temperature": TEMPERATURE, "top_p": TOP_P}
        try:
            response = await self._client.complete(request.model_copy(update=sampled))
        except ServerError as trouble:
            logger.info("There is one candidate only. %s", trouble.message)
            self._first = None  # asked again next time
            return []
        by_text = {first.text.rstrip(): first}
        for choice in response.choices:
            other = Suggestion(choice.text, first.snapshot, response.id, response.model, choice.index)
            by_text.setdefault(choice.text.rstrip(), other)
        return [other for text, other in by_text.items() if text and other is not first]
