"""The outcome of one offered completion, derived from the text at its place. Pure: no clock and no editor.

LSP does not report what a user does with a completion, only how the text changes. After each change this
module compares the text at the offer's place with the completion. Characters that came key by key were typed;
characters that came together were accepted. An outcome is reported once it has been stable for STABLE_S, so
that a menu which previews its items in the text, or a typing slip that is corrected at once, is not reported.
What the editor reports itself (the item's command, Copilot's notifications) is taken as true at once.

    offered -> shown -> accepted | partly accepted, again for each further part | typed through | rejected
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from acepilot.completion_cache import CLOSER_OF
from acepilot.events import utf16
from lsp.feedback.offer import Offer, OutcomeEvent
from lsp.suggestion import CompletionKey
from lsp.text.edits import Edit, Place, advanced, shared_start

STABLE_S = 0.5
"""Seconds on the screen after which a completion counts as seen; Continue uses the same limit."""


@dataclass(eq=False)
class OfferOutcome:
    """The state of one offer. Times are seconds of any one clock. `ended`: no more events will come."""

    offer: Offer
    offered_at: float
    is_first: bool = True
    """Other candidates count as shown only if the editor reports it."""
    place: Place = field(init=False)
    matched: int = 0
    """Number of the text's first characters that stand at the place."""
    ended: bool = False
    _visible: bool = True
    """As far as the document shows, the editor may still display the rest of the text."""
    _astray: bool = False
    """The text at the place differs now; a typing slip, if it is corrected soon."""
    _shown: bool = False
    _accepted: bool = False
    _reported_chars: int = 0
    _typed: set[int] = field(default_factory=set[int])
    """Indices of the text's characters that were typed key by key."""
    _claimed: int = 0
    """The editor reports that the text was accepted up to this index."""
    _stable_at: float | None = None

    def __post_init__(self) -> None:
        self.place = self.offer.place

    @classmethod
    def resumed(cls, offer: Offer, now: float, start: Place, accepted: str) -> "OfferOutcome":
        """Return the outcome of a completion whose first lines stand at `start`; `offer` is the rest."""
        whole = replace(offer, place=start, text=accepted + offer.text)
        return cls(whole, now, matched=len(accepted), _shown=True, _reported_chars=utf16(accepted))

    @property
    def key(self) -> CompletionKey:
        return self.offer.key

    @property
    def is_whole(self) -> bool:
        return self.matched == len(self.offer.text)

    @property
    def due(self) -> float | None:
        """The time of the next `tick` that may have an event."""
        times = [self.offered_at + STABLE_S] if self._awaits_being_shown else []
        return min([*times, *([] if self._stable_at is None else [self._stable_at])], default=None)

    def continues_with(self, offer: Offer) -> bool:
        """Append `offer` if it is the rest of this completion; return whether it is."""
        stands = "" if offer.own_from else self.offer.text[: self.matched]
        if self.ended or offer.place != advanced(self.place, stands):
            return False
        text = stands + offer.text
        self.offer = replace(self.offer, text=text, own_from=max(self.offer.own_from, offer.own_from))
        self._visible, self._accepted = True, False
        return True

    def changed(self, edits: Sequence[Edit], here: str, now: float) -> None:
        """Compare the completion with `here`, the text at its place after `edits` and what follows it."""
        if self.is_whole and here.startswith(self.offer.text):
            return  # a change after the completion does not concern it
        count = self.offer.standing(here)
        # A change that leaves the matched part as it was is one elsewhere, unless it corrected a slip.
        self._visible = count is not None and (count != self.matched or self._astray)
        self._astray = count is None
        if count is None:
            self.matched = min(self.matched, shared_start(here, self.offer.text))
        else:
            if all(_is_one_key(edit.text) for edit in edits):
                self._typed.update(range(max(self.matched, self._claimed), count))
            self.matched = count
        self._typed = {index for index in self._typed if index < self.matched}
        self._stable_at = now + STABLE_S
        if not (self._visible or self._shown or self._accepted_chars()):
            self.ended = True  # it disappeared before it counted as shown

    def lose(self, now: float) -> None:
        """Record that the place was deleted, or that another candidate was inserted there."""
        self.matched = 0
        self._visible = False
        self._stable_at = now + STABLE_S
        self.ended = self.ended or not self._shown

    def show(self) -> Iterator[OutcomeEvent]:
        """Record that the completion is on the screen."""
        if not self._shown:
            self._shown = True
            yield OutcomeEvent(self.offer, "shown")

    def accept(self) -> Iterator[OutcomeEvent]:
        """Record the editor's report that the whole text was accepted. The change itself may come later."""
        if not self._accepted:
            yield from self.show()
            chars = self.offer.chars - utf16(self._own(self._typed))
            yield from self._accept(chars or self.offer.chars)
            self._claimed = len(self.offer.text)

    def claim(self, begin: int, end: int) -> Iterator[OutcomeEvent]:
        """Record the editor's report that `text[begin:end]` was accepted, even a single character."""
        self._claimed = max(self._claimed, end)
        self._typed.difference_update(range(begin, end))
        if self.matched >= end:
            yield from self.settle()

    def tick(self, now: float) -> Iterator[OutcomeEvent]:
        """Yield the events that are due by `now`."""
        if self._awaits_being_shown and now >= self.offered_at + STABLE_S:
            yield from self.show()
        if self._stable_at is not None and now >= self._stable_at:
            yield from self.settle()

    def finish(self, now: float) -> Iterator[OutcomeEvent]:
        """Yield the last events: another completion is offered, or the document was closed."""
        yield from self.tick(now)
        self._visible = False
        yield from self.settle()

    def settle(self) -> Iterator[OutcomeEvent]:
        """Yield the event for the present state, without waiting until it has been stable for STABLE_S."""
        self._stable_at = None
        self.ended = self.ended or self.is_whole or not self._visible
        chars = self._accepted_chars()
        if self._accepted:
            return
        if self.is_whole and chars and len(self.offer.text) - 1 not in self._typed:
            yield from self.show()
            yield from self._accept(chars)
        elif chars > self._reported_chars:
            yield from self.show()
            self._reported_chars = chars
            yield OutcomeEvent(self.offer, "partly_accepted", chars)
        elif self.ended and self._shown and not self._reported_chars:
            kind = "typed_through" if self.is_whole else "rejected"
            yield OutcomeEvent(self.offer, kind, self.offer.chars if self.is_whole else 0)

    def accepted_text(self) -> str:
        """Return the part of the completion that stands in the document, or "" if none was accepted."""
        if self._accepted and not self.is_whole:
            return ""  # the editor has changed it while inserting: it cannot be distinguished from other text
        was_accepted = self._accepted or self._reported_chars
        return self.offer.text[self.offer.own_from : self.matched] if was_accepted else ""

    def accepted_at(self) -> Place:
        """Return where `accepted_text` begins."""
        return advanced(self.place, self.offer.text[: self.offer.own_from])

    @property
    def _awaits_being_shown(self) -> bool:
        return self.is_first and self._visible and not self._shown and not self.is_whole

    def _accept(self, chars: int) -> Iterator[OutcomeEvent]:
        self._accepted = True
        self._reported_chars = chars
        yield OutcomeEvent(self.offer, "accepted", chars)

    def _accepted_chars(self) -> int:
        return utf16(self._own(set(range(self.matched)) - self._typed))

    def _own(self, indices: set[int]) -> str:
        return "".join(self.offer.text[index] for index in sorted(indices) if index >= self.offer.own_from)


def _is_one_key(inserted: str) -> bool:
    """Return whether one key can have inserted this text: an editor may add a closer or indentation."""
    visible = inserted.strip()
    return len(visible) <= 1 or CLOSER_OF.get(visible[0]) == visible[1:]
