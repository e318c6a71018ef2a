"""The offers in one document and the accepted texts among them: changes in, outcome events out. No clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lsp.feedback.offer import LOOK_AHEAD_CHARS, Offer, OutcomeEvent
from lsp.feedback.offer_outcome import OfferOutcome
from lsp.feedback.survival import AcceptedText
from lsp.suggestion import CompletionKey
from lsp.text.edits import Edit, text_from


@dataclass(eq=False)
class DocumentOffers:
    """`lines` is always the document as it is now. Times are seconds of any one clock."""

    _outcomes: list[OfferOutcome] = field(default_factory=list[OfferOutcome])
    _accepted: dict[CompletionKey, AcceptedText] = field(default_factory=dict[CompletionKey, AcceptedText])

    @property
    def due(self) -> float | None:
        """The time of the next `tick` that may have an event, or None if there will be none."""
        times = [one.due for one in (*self._outcomes, *self._accepted.values())]
        return min((at for at in times if at is not None), default=None)

    def offered(self, offers: Sequence[Offer], now: float) -> list[OutcomeEvent]:
        """Replace the earlier offers by an answer's candidates, the one shown first at the beginning."""
        by_key = {outcome.key: outcome for outcome in self._outcomes}
        outcomes: list[OfferOutcome] = []
        for index, offer in enumerate(offers):
            known, accepted = by_key.get(offer.key), self._accepted.get(offer.key)
            if known is not None and known.continues_with(offer):
                outcomes.append(known)
            elif accepted is not None and accepted.end == offer.place:
                outcomes.append(OfferOutcome.resumed(offer, now, accepted.start, accepted.text))
            else:
                outcomes.append(OfferOutcome(offer, now, is_first=index == 0))
        events: list[OutcomeEvent] = []
        for outcome in self._outcomes:
            if outcome not in outcomes:
                events += self._collect(outcome, outcome.finish(now), now)
        self._outcomes = outcomes
        return events

    def changed(self, lines: Sequence[str], edits: Sequence[Edit], now: float) -> None:
        for edit in edits:
            for accepted in self._accepted.values():
                accepted.changed(edit)
        for outcome in self._outcomes:
            place = outcome.place
            for edit in edits:
                moved = edit.moved(place)
                if moved is None:
                    outcome.lose(now)
                    break
                place = moved
            else:
                outcome.place = place
                here = text_from(lines, place, len(outcome.offer.text) + LOOK_AHEAD_CHARS)
                outcome.changed(edits, here, now)
        if any(outcome.is_whole for outcome in self._outcomes):
            for outcome in self._outcomes:
                if not outcome.is_whole:
                    outcome.lose(now)
        self._outcomes = [outcome for outcome in self._outcomes if not outcome.ended]

    def shown(self, key: CompletionKey, now: float) -> list[OutcomeEvent]:
        """Record the editor's report that it shows this candidate."""
        return [one for outcome in self._of(key) for one in self._collect(outcome, outcome.show(), now)]

    def accepted(self, key: CompletionKey, now: float) -> list[OutcomeEvent]:
        """Record the editor's report that this candidate was accepted."""
        return [one for outcome in self._of(key) for one in self._collect(outcome, outcome.accept(), now)]

    def accepted_part(self, key: CompletionKey, rest: str, chars: int, now: float) -> list[OutcomeEvent]:
        """Record the report that `rest`, as offered last, was accepted up to its character `chars`."""
        events: list[OutcomeEvent] = []
        for outcome in self._of(key):
            begin = max(len(outcome.offer.text) - len(rest), 0)
            events += self._collect(outcome, outcome.claim(begin, begin + chars), now)
        return events

    def tick(self, lines: Sequence[str], now: float) -> list[OutcomeEvent]:
        """Return the events that are due by `now`."""
        events: list[OutcomeEvent] = []
        for outcome in self._outcomes:
            events += self._collect(outcome, outcome.tick(now), now)
        self._outcomes = [outcome for outcome in self._outcomes if not outcome.ended]
        for accepted in self._accepted.values():
            events += accepted.tick(now, lines)
        self._accepted = {key: text for key, text in self._accepted.items() if text.due is not None}
        return events

    def closed(self, lines: Sequence[str], now: float) -> list[OutcomeEvent]:
        """End all offers. The survival of accepted text is still reported, from the document's last state."""
        events = self.offered((), now)
        for accepted in self._accepted.values():
            accepted.close(lines)
        return events

    def _of(self, key: CompletionKey) -> list[OfferOutcome]:
        return [outcome for outcome in self._outcomes if outcome.key == key]

    def _collect(
        self, outcome: OfferOutcome, events: Iterable[OutcomeEvent], now: float
    ) -> list[OutcomeEvent]:
        """Return `events` as a list, and follow the text that they report as accepted."""
        collected = list(events)
        if text := outcome.accepted_text():
            if (accepted := self._accepted.get(outcome.key)) is None:
                self._accepted[outcome.key] = AcceptedText(outcome.offer, now, outcome.accepted_at(), text)
            else:
                accepted.grow(text)
        return collected
