"""Offers and changes of all documents in, events out: the language server's side of the feedback flow.

Each document has a `Watch` (watch.py, offer_outcome.py, survival.py), which knows no clock. This one gives it
the time, and makes of what happened an event as the server takes it. Nothing here waits, and no text leaves
it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from acepilot.events import MAX_NAME_CHARS, CompletionEvent
from acepilot.languages import language_for
from lsp.feedback.offer import Key, Offer, OutcomeEvent
from lsp.feedback.watch import Watch
from lsp.keystroke.answer import Suggestion
from lsp.text.documents import Document, Documents, relative_path
from lsp.text.edits import Edit
from lsp.text.ranges import reach


class Outcomes:
    """Needs a running event loop. `put` gets each event, in its order."""

    def __init__(self, documents: Documents, put: Callable[[CompletionEvent], None]) -> None:
        self.client = ""
        """The editor's name and version, once it has said them."""
        self.shown = 0
        self.accepted = 0
        self._documents = documents
        self._put = put
        self._watches: dict[str, Watch] = {}
        self._closed: list[Watch] = []
        self._timer: asyncio.TimerHandle | None = None

    def offered(self, suggestions: Sequence[Suggestion], latency_ms: float) -> None:
        """One answer, the first of it to be shown. A server that gives no ids leaves nothing to tell."""
        uri = suggestions[0].snapshot.uri
        offers = [offer_of(one, latency_ms) for one in suggestions if 0 < len(one.id) <= MAX_NAME_CHARS]
        self._tell(self._watches.setdefault(uri, Watch()).offered(offers, time.monotonic()))

    def changed(self, document: Document, edits: Sequence[Edit]) -> None:
        if (watch := self._watches.get(document.uri)) is not None:
            watch.changed(document.lines, edits, time.monotonic())
            self._arm()

    def closed(self, document: Document) -> None:
        if (watch := self._watches.pop(document.uri, None)) is not None:
            self._closed.append(watch)
            self._tell(watch.closed(document.lines, time.monotonic()))

    def said_shown(self, key: Key) -> None:
        for watch in self._watches.values():
            self._tell(watch.shown(key, time.monotonic()))

    def said_accepted(self, key: Key) -> None:
        for watch in self._watches.values():
            self._tell(watch.accepted(key, time.monotonic()))

    def said_accepted_part(self, key: Key, rest: str, chars: int) -> None:
        for watch in self._watches.values():
            self._tell(watch.claimed(key, rest, chars, time.monotonic()))

    def finish(self) -> None:
        """The editor goes: what can be told, is told now."""
        for document in self._documents:
            self.closed(document)
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic()
        told: list[OutcomeEvent] = []
        for uri, watch in self._watches.items():
            document = self._documents.get(uri)
            told += watch.tick(document.lines if document else (), now)
        for watch in self._closed:
            told += watch.tick((), now)
        self._closed = [watch for watch in self._closed if watch.due is not None]
        self._tell(told)

    def _tell(self, happenings: Sequence[OutcomeEvent]) -> None:
        for happening in happenings:
            self.shown += happening.kind == "shown"
            self.accepted += happening.kind == "accepted"
            self._put(self._event(happening))
        self._arm()

    def _arm(self) -> None:
        """Wakes when the first watch has something to tell."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dues = [watch.due for watch in (*self._watches.values(), *self._closed)]
        if known := [due for due in dues if due is not None]:
            pause_s = max(min(known) - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._tick)

    def _event(self, happening: OutcomeEvent) -> CompletionEvent:
        offer = happening.offer
        return CompletionEvent.model_validate(
            {
                "completion_id": offer.key[0],
                "choice": offer.key[1],
                "kind": happening.kind,
                "at": time.time(),
                "model": offer.model[:MAX_NAME_CHARS],
                "language": offer.language,
                "client": self.client[:MAX_NAME_CHARS],
                "shown_chars": offer.chars,
                "chars": happening.chars,
                "latency_ms": offer.latency_ms if happening.kind == "shown" else None,
                "after_s": happening.after_s,
                "kept_ratio": happening.kept_ratio,
            }
        )


def offer_of(suggestion: Suggestion, latency_ms: float) -> Offer:
    here = suggestion.snapshot
    selected = here.selected.text if here.selected else ""
    return Offer(
        key=suggestion.key,
        place=(here.line, here.index - (here.selected.left if here.selected else 0)),
        text=selected + suggestion.text,
        suffix=here.suffix,
        over=reach(suggestion.text, here.line_after),
        own_from=len(selected),
        language=language_for(here.language, relative_path(here.uri, ())).id,
        model=suggestion.model,
        latency_ms=latency_ms,
    )
