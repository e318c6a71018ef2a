"""What becomes of one offered completion, told from what then stands at its place. Pure: no clock, no editor.

LSP tells nothing of what a user does with a completion, only how the text changes. So after each change this
looks how much of the completion's text stands where it was offered. What grew key by key was typed; what came
in a piece was accepted. A fate is told when it has stood for `STANDS_S`: a menu that previews its items in
the text, or a slip of the finger that is mended at once, is none. What the editor says itself (the item's
command, Copilot's notifications) is believed at once.

    offered -> shown -> accepted | partly accepted, ever more | typed through | rejected
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from acepilot.completion_cache import CLOSER_OF
from acepilot.events import utf16
from lsp.feedback.offer import Key, Offer, OutcomeEvent
from lsp.text.edits import Edit, Place, advanced, shared_start

STANDS_S = 0.5
"""What is on the screen for less is not seen: Continue, too, counts from half a second on."""


@dataclass(eq=False)
class OfferOutcome:
    """One offer's. Times are seconds of any one clock. `ended`: there is nothing more to come."""

    offer: Offer
    offered_at: float
    is_first: bool = True
    """Other candidates are seen only if the editor says so."""
    place: Place = field(init=False)
    matched: int = 0
    """Characters of the text that stand at the place."""
    ended: bool = False
    _visible: bool = True
    """As far as the document tells, the editor may still show the rest of the text."""
    _astray: bool = False
    """Something else stands there now; a slip, if it is mended soon."""
    _shown: bool = False
    _accepted: bool = False
    _told_chars: int = 0
    _typed: set[int] = field(default_factory=set[int])
    """Which characters of the text were typed key by key."""
    _claimed: int = 0
    """Up to where the editor itself says that the text was accepted."""
    _settles_at: float | None = None

    def __post_init__(self) -> None:
        self.place = self.offer.place

    @classmethod
    def resumed(cls, offer: Offer, now: float, start: Place, accepted: str) -> "OfferOutcome":
        """Of a completion whose first lines, `accepted`, stand at `start`: `offer` is the rest."""
        whole = replace(offer, place=start, text=accepted + offer.text)
        return cls(whole, now, matched=len(accepted), _shown=True, _told_chars=utf16(accepted))

    @property
    def key(self) -> Key:
        return self.offer.key

    @property
    def is_whole(self) -> bool:
        return self.matched == len(self.offer.text)

    @property
    def due(self) -> float | None:
        """When `tick` will have something to tell."""
        times = [self.offered_at + STANDS_S] if self._awaits_being_shown else []
        return min([*times, *([] if self._settles_at is None else [self._settles_at])], default=None)

    def continues_with(self, offer: Offer) -> bool:
        """Whether `offer` is the missing rest of this one, which then goes on.

        What was offered before may have been its first lines only, and accepted.
        """
        stands = "" if offer.own_from else self.offer.text[: self.matched]
        if self.ended or offer.place != advanced(self.place, stands):
            return False
        text = stands + offer.text
        self.offer = replace(self.offer, text=text, own_from=max(self.offer.own_from, offer.own_from))
        self._visible, self._accepted = True, False
        return True

    def changed(self, edits: Sequence[Edit], here: str, now: float) -> None:
        """`here`: what stands at the place after `edits`, `LOOK_AHEAD_CHARS` more than the text is long."""
        if self.is_whole and here.startswith(self.offer.text):
            return  # what comes after it is no longer its business
        count = self.offer.standing(here)
        # A change that leaves the matched part as it was is one elsewhere, unless it mended a slip.
        self._visible = count is not None and (count != self.matched or self._astray)
        self._astray = count is None
        if count is None:
            self.matched = min(self.matched, shared_start(here, self.offer.text))
        else:
            if all(_is_a_key(edit.text) for edit in edits):
                self._typed.update(range(max(self.matched, self._claimed), count))
            self.matched = count
        self._typed = {index for index in self._typed if index < self.matched}
        self._settles_at = now + STANDS_S
        if not (self._visible or self._shown or self._accepted_chars()):
            self.ended = True  # it only flickered

    def lose(self, now: float) -> None:
        """Its place is no more, or another candidate has it."""
        self.matched = 0
        self._visible = False
        self._settles_at = now + STANDS_S
        self.ended = self.ended or not self._shown

    def show(self) -> Iterator[OutcomeEvent]:
        """The editor says that it shows this one."""
        if not self._shown:
            self._shown = True
            yield OutcomeEvent(self.offer, "shown")

    def accept(self) -> Iterator[OutcomeEvent]:
        """The editor says that the whole text was accepted. The change itself may still be on its way."""
        if not self._accepted:
            yield from self.show()
            chars = self.offer.chars - utf16(self._own(self._typed))
            yield from self._accept(chars or self.offer.chars)
            self._claimed = len(self.offer.text)

    def claim(self, begin: int, end: int) -> Iterator[OutcomeEvent]:
        """The editor says that this much of the text was accepted, be it a single character."""
        self._claimed = max(self._claimed, end)
        self._typed.difference_update(range(begin, end))
        if self.matched >= end:
            yield from self.settle()

    def tick(self, now: float) -> Iterator[OutcomeEvent]:
        if self._awaits_being_shown and now >= self.offered_at + STANDS_S:
            yield from self.show()
        if self._settles_at is not None and now >= self._settles_at:
            yield from self.settle()

    def finish(self, now: float) -> Iterator[OutcomeEvent]:
        """Something else is offered, or the document was closed."""
        yield from self.tick(now)
        self._visible = False
        yield from self.settle()

    def settle(self) -> Iterator[OutcomeEvent]:
        """As it is now, so it counts."""
        self._settles_at = None
        self.ended = self.ended or self.is_whole or not self._visible
        chars = self._accepted_chars()
        if self._accepted:
            return
        if self.is_whole and chars and len(self.offer.text) - 1 not in self._typed:
            yield from self.show()
            yield from self._accept(chars)
        elif chars > self._told_chars:
            yield from self.show()
            self._told_chars = chars
            yield OutcomeEvent(self.offer, "partly_accepted", chars)
        elif self.ended and self._shown and not self._told_chars:
            kind = "typed_through" if self.is_whole else "rejected"
            yield OutcomeEvent(self.offer, kind, self.offer.chars if self.is_whole else 0)

    def planted(self) -> str:
        """What stands of the text, where something of it was accepted."""
        if self._accepted and not self.is_whole:
            return ""  # the editor has changed it while inserting: it cannot be told from other text
        taken = self._accepted or self._told_chars
        return self.offer.text[self.offer.own_from : self.matched] if taken else ""

    def planted_at(self) -> Place:
        return advanced(self.place, self.offer.text[: self.offer.own_from])

    @property
    def _awaits_being_shown(self) -> bool:
        return self.is_first and self._visible and not self._shown and not self.is_whole

    def _accept(self, chars: int) -> Iterator[OutcomeEvent]:
        self._accepted = True
        self._told_chars = chars
        yield OutcomeEvent(self.offer, "accepted", chars)

    def _accepted_chars(self) -> int:
        return utf16(self._own(set(range(self.matched)) - self._typed))

    def _own(self, indices: set[int]) -> str:
        return "".join(self.offer.text[index] for index in sorted(indices) if index >= self.offer.own_from)


def _is_a_key(inserted: str) -> bool:
    """One key makes one character, with the closer or the indentation that an editor adds by itself."""
    visible = inserted.strip()
    return len(visible) <= 1 or CLOSER_OF.get(visible[0]) == visible[1:]
