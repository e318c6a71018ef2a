"""Further candidates for a request made by hand, for an editor's "next candidate" command.

The first candidate is the one that an automatic request gets, so that the text on the screen stays first. The
others are sampled by one more request, whose prompt is in the server's KV cache already. The first candidate
waits at most PATIENCE_S for them; candidates that arrive later are offered when the editor asks again at the
same place.
"""

import asyncio
import logging
import time

from acepilot.protocol import CompletionRequest
from lsp.answers import ServerError
from lsp.client import CompletionClient
from lsp.keystroke.editor_request import EditorRequest
from lsp.suggestion import Suggestion

CANDIDATES = 3  # in all, the first one included
TEMPERATURE = 0.7
TOP_P = 0.95
PATIENCE_S = 2.0  # the user is looking at the first candidate already

logger = logging.getLogger("acepilot.lsp")


class Candidates:
    """Requests the other candidates of one suggestion, once."""

    def __init__(self, client: CompletionClient) -> None:
        self._client = client
        self._first: Suggestion | None = None
        self._task: asyncio.Task[list[Suggestion]] | None = None

    async def others(
        self, first: Suggestion, request: CompletionRequest, editor_request: EditorRequest, deadline_s: float
    ) -> list[Suggestion]:
        """Return up to CANDIDATES - 1 different suggestions. `request` is the one that `first` answers."""
        if self._task is None or self._first != first:
            self.drop()
            self._first = first
            self._task = asyncio.create_task(self._sample(first, request))
        task = self._task
        task.add_done_callback(lambda _: editor_request.woken.set())
        deadline_s = min(deadline_s, time.monotonic() + PATIENCE_S)
        try:
            while not (task.done() or editor_request.superseded) and time.monotonic() < deadline_s:
                await editor_request.sleep(deadline_s - time.monotonic())
        except asyncio.CancelledError:
            self.drop()
            raise
        return task.result() if task.done() and not task.cancelled() else []

    def drop(self) -> None:
        """Cancel the request, which frees the server: the text changed, or the editor has gone."""
        if self._task is not None:
            self._task.cancel()
        self._first = self._task = None

    async def _sample(self, first: Suggestion, request: CompletionRequest) -> list[Suggestion]:
        sampled = {"n": CANDIDATES - 1, "temperature": TEMPERATURE, "top_p": TOP_P}
        try:
            response = await self._client.complete(request.model_copy(update=sampled))
        except ServerError as error:
            logger.info("Only one candidate is offered. %s", error.message)
            self._first = None  # the next request at this place samples again
            return []
        by_text = {first.text.rstrip(): first}
        for index, choice in enumerate(response.choices):
            other = Suggestion(choice.text, first.snapshot, response.id, response.model, index)
            by_text.setdefault(choice.text.rstrip(), other)
        return [other for text, other in by_text.items() if text and other is not first]
