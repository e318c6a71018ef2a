"""A completion as it was handed to the editor, and what can be told of it later."""

from dataclasses import dataclass

from acepilot.completion_cache import KEY_SUFFIX_CHARS, same_suffix
from acepilot.events import Kind, utf16
from lsp.text.edits import Place, shared_start

Key = tuple[str, int]
"""A completion's id, and which of its candidates."""

LOOK_AHEAD_CHARS = KEY_SUFFIX_CHARS + 100
"""What `Offer.standing` wants to see beyond the text: the suffix by which a place is known, and closers."""


@dataclass(frozen=True)
class Offer:
    """All text has LF line ends."""

    key: Key
    place: Place
    """Where the text would begin."""
    text: str
    suffix: str
    """What stands right of the place, or of what would be replaced there."""
    over: int = 0
    """Characters of the suffix that are replaced when the text is accepted: closers that it brings itself."""
    own_from: int = 0
    """What precedes this in the text is the selected item of the editor's own menu."""
    language: str = ""
    model: str = ""
    latency_ms: float = 0.0
    """From the editor's request to the answer."""

    @property
    def chars(self) -> int:
        return utf16(self.text[self.own_from :])

    def standing(self, here: str) -> int | None:
        """How many characters of the text stand `here`, at its place; None: something else does.

        Something else is right of them than what was there at the offer, apart from closers that an editor
        adds by itself, or that the text replaces.
        """
        for count in range(shared_start(here, self.text), -1, -1):
            typed, rest = self.text[:count], here[count:]
            if any(same_suffix(self.suffix[over:], rest, typed) for over in {0, self.over}):
                return count
        return None


@dataclass(frozen=True)
class OutcomeEvent:
    """An event before it has a time and a sender. `chars` are UTF-16 units."""

    offer: Offer
    kind: Kind
    chars: int = 0
    after_s: int | None = None
    kept_ratio: float | None = None
