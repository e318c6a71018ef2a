"""The feedback flow of the language server: offers and changes of all documents in, events out.

Each document has a `DocumentOffers`, which knows no clock. `Outcomes` gives it the time, and turns each
OutcomeEvent into the event that the server takes. Nothing here waits, and no text of a document leaves it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from acepilot.events import MAX_NAME_CHARS, CompletionEvent
from acepilot.languages import language_for
from lsp.feedback.document_offers import DocumentOffers
from lsp.feedback.offer import Offer, OutcomeEvent
from lsp.suggestion import CompletionKey, Suggestion
from lsp.text.documents import Document, Documents, relative_path
from lsp.text.edits import Edit
from lsp.text.ranges import reach


class Outcomes:
    """Needs a running event loop. `put` gets each event, in order."""

    def __init__(self, documents: Documents, put: Callable[[CompletionEvent], None]) -> None:
        self.client = ""
        """The editor's name and version, once it has sent them."""
        self.shown = 0
        self.accepted = 0
        self._documents = documents
        self._put = put
        self._open: dict[str, DocumentOffers] = {}
        self._closed: list[DocumentOffers] = []
        self._timer: asyncio.TimerHandle | None = None

    def offered(self, suggestions: Sequence[Suggestion], latency_ms: float) -> None:
        """Follow one answer. A suggestion without a usable id is ignored: no event could refer to it."""
        uri = suggestions[0].snapshot.uri
        offers = [offer_of(one, latency_ms) for one in suggestions if 0 < len(one.id) <= MAX_NAME_CHARS]
        self._emit(self._open.setdefault(uri, DocumentOffers()).offered(offers, time.monotonic()))

    def changed(self, document: Document, edits: Sequence[Edit]) -> None:
        if (offers := self._open.get(document.uri)) is not None:
            offers.changed(document.lines, edits, time.monotonic())
            self._set_timer()

    def closed(self, document: Document) -> None:
        if (offers := self._open.pop(document.uri, None)) is not None:
            self._closed.append(offers)
            self._emit(offers.closed(document.lines, time.monotonic()))

    def report_shown(self, key: CompletionKey) -> None:
        """Record the editor's report that it shows a completion; likewise in the next two methods."""
        for offers in self._open.values():
            self._emit(offers.shown(key, time.monotonic()))

    def report_accepted(self, key: CompletionKey) -> None:
        for offers in self._open.values():
            self._emit(offers.accepted(key, time.monotonic()))

    def report_accepted_part(self, key: CompletionKey, rest: str, chars: int) -> None:
        for offers in self._open.values():
            self._emit(offers.accepted_part(key, rest, chars, time.monotonic()))

    def finish(self) -> None:
        """Emit what is known by now: the editor disconnects."""
        for document in self._documents.values():
            self.closed(document)
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic()
        events: list[OutcomeEvent] = []
        for uri, offers in self._open.items():
            document = self._documents.get(uri)
            events += offers.tick(document.lines if document else (), now)
        for offers in self._closed:
            events += offers.tick((), now)
        self._closed = [offers for offers in self._closed if offers.due is not None]
        self._emit(events)

    def _emit(self, events: Sequence[OutcomeEvent]) -> None:
        for event in events:
            self.shown += event.kind == "shown"
            self.accepted += event.kind == "accepted"
            self._put(self._completion_event(event))
        self._set_timer()

    def _set_timer(self) -> None:
        """Call `_tick` at the time of the first event that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dues = [offers.due for offers in (*self._open.values(), *self._closed)]
        if known := [due for due in dues if due is not None]:
            pause_s = max(min(known) - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._tick)

    def _completion_event(self, event: OutcomeEvent) -> CompletionEvent:
        offer = event.offer
        return CompletionEvent.model_validate(
            {
                "completion_id": offer.key[0],
                "choice": offer.key[1],
                "kind": event.kind,
                "at": time.time(),
                "model": offer.model[:MAX_NAME_CHARS],
                "language": offer.language,
                "client": self.client[:MAX_NAME_CHARS],
                "shown_chars": offer.chars,
                "chars": event.chars,
                "latency_ms": offer.latency_ms if event.kind == "shown" else None,
                "after_s": event.after_s,
                "kept_ratio": event.kept_ratio,
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
