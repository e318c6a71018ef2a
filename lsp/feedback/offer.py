"""A completion as it was offered to the editor, and an event about it."""

from dataclasses import dataclass

from acepilot.completion_cache import KEY_SUFFIX_CHARS
from acepilot.events import Kind, utf16
from lsp.suggestion import CompletionKey
from lsp.text.edits import Place
from lsp.text.typed import MAX_CLOSERS, standing_counts

LOOK_AHEAD_CHARS = KEY_SUFFIX_CHARS + MAX_CLOSERS
"""Characters that `Offer.standing` needs beyond the text: the suffix that identifies a place, and closers."""


@dataclass(frozen=True)
class Offer:
    """A suggestion in the form in which it is compared with the document. All text has LF line ends."""

    key: CompletionKey
    place: Place
    """Where the text would begin."""
    text: str
    suffix: str
    """The text right of `place`."""
    over: int = 0
    """Characters of the suffix that the text replaces when accepted: closers that the text has itself."""
    own_from: int = 0
    """Index in `text` where the completion begins; the selected item of the editor's menu comes before it."""
    language: str = ""
    model: str = ""
    latency_ms: float = 0.0
    """From the editor's request to the answer."""

    @property
    def chars(self) -> int:
        return utf16(self.text[self.own_from :])

    def standing(self, here: str) -> int | None:
        """Return how many of the text's first characters `here` begins with, or None.

        `here` is the document's text at the offer's place. None means that it does not continue as it did at
        the offer, apart from closers that an editor adds by itself or that the text replaces.
        """
        suffixes = {self.suffix, self.suffix[self.over :]}
        counts = (count for suffix in suffixes for count in standing_counts(self.text, suffix, here))
        return max(counts, default=None)


@dataclass(frozen=True)
class OutcomeEvent:
    """An event about an offer, before it gets a time and a sender. `chars` counts UTF-16 units."""

    offer: Offer
    kind: Kind
    chars: int = 0
    after_s: int | None = None
    kept_ratio: float | None = None
