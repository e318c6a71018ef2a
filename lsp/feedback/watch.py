"""One document's offers, and what of them was accepted: changes in, happenings out. It knows no clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lsp.feedback.offer import LOOK_AHEAD_CHARS, Key, Offer, OutcomeEvent
from lsp.feedback.offer_outcome import OfferOutcome
from lsp.feedback.survival import AcceptedText
from lsp.text.edits import Edit, text_from


@dataclass(eq=False)
class Watch:
    """`lines` are always the document's as they are now. Times are seconds of any one clock."""

    _fates: list[OfferOutcome] = field(default_factory=list[OfferOutcome])
    _planted: dict[Key, AcceptedText] = field(default_factory=dict[Key, AcceptedText])

    @property
    def due(self) -> float | None:
        """When `tick` will have something to tell; None: never, as things are."""
        times = [one.due for one in (*self._fates, *self._planted.values())]
        return min((at for at in times if at is not None), default=None)

    def offered(self, offers: Sequence[Offer], now: float) -> list[OutcomeEvent]:
        """An answer's candidates, the one that is shown first. They take the place of earlier ones."""
        by_key = {fate.key: fate for fate in self._fates}
        fates: list[OfferOutcome] = []
        for number, offer in enumerate(offers):
            known, planted = by_key.get(offer.key), self._planted.get(offer.key)
            if known is not None and known.continues_with(offer):
                fates.append(known)
            elif planted is not None and planted.end == offer.place:
                fates.append(OfferOutcome.resumed(offer, now, planted.start, planted.text))
            else:
                fates.append(OfferOutcome(offer, now, is_first=number == 0))
        told: list[OutcomeEvent] = []
        for fate in self._fates:
            if fate not in fates:
                told += self._heard(fate, fate.finish(now), now)
        self._fates = fates
        return told

    def changed(self, lines: Sequence[str], edits: Sequence[Edit], now: float) -> None:
        for edit in edits:
            for planted in self._planted.values():
                planted.changed(edit)
        for fate in self._fates:
            place = fate.place
            for edit in edits:
                moved = edit.moved(place)
                if moved is None:
                    fate.lose(now)
                    break
                place = moved
            else:
                fate.place = place
                fate.changed(edits, text_from(lines, place, len(fate.offer.text) + LOOK_AHEAD_CHARS), now)
        if any(fate.is_whole for fate in self._fates):
            for fate in self._fates:
                if not fate.is_whole:
                    fate.lose(now)
        self._fates = [fate for fate in self._fates if not fate.ended]

    def shown(self, key: Key, now: float) -> list[OutcomeEvent]:
        """The editor says so itself; in the next two as well."""
        return [one for fate in self._named(key) for one in self._heard(fate, fate.show(), now)]

    def accepted(self, key: Key, now: float) -> list[OutcomeEvent]:
        return [one for fate in self._named(key) for one in self._heard(fate, fate.accept(), now)]

    def claimed(self, key: Key, rest: str, chars: int, now: float) -> list[OutcomeEvent]:
        """The first `chars` characters of `rest`, the text as it was offered last, were accepted."""
        told: list[OutcomeEvent] = []
        for fate in self._named(key):
            begin = max(len(fate.offer.text) - len(rest), 0)
            told += self._heard(fate, fate.claim(begin, begin + chars), now)
        return told

    def tick(self, lines: Sequence[str], now: float) -> list[OutcomeEvent]:
        told: list[OutcomeEvent] = []
        for fate in self._fates:
            told += self._heard(fate, fate.tick(now), now)
        self._fates = [fate for fate in self._fates if not fate.ended]
        for planted in self._planted.values():
            told += planted.tick(now, lines)
        self._planted = {key: planted for key, planted in self._planted.items() if planted.due is not None}
        return told

    def closed(self, lines: Sequence[str], now: float) -> list[OutcomeEvent]:
        """No more changes will come. What was accepted is still looked at, as it was in the end."""
        told = self.offered((), now)
        for planted in self._planted.values():
            planted.close(lines)
        return told

    def _named(self, key: Key) -> list[OfferOutcome]:
        return [fate for fate in self._fates if fate.key == key]

    def _heard(self, fate: OfferOutcome, told: Iterable[OutcomeEvent], now: float) -> list[OutcomeEvent]:
        happenings = list(told)
        if text := fate.planted():
            if (planted := self._planted.get(fate.key)) is None:
                self._planted[fate.key] = AcceptedText(fate.offer, now, fate.planted_at(), text)
            else:
                planted.grow(text)
        return happenings
