"""A completion for one place in a document: the keystroke flow makes it, the feedback flow follows it."""

from dataclasses import dataclass

from lsp.text.documents import Snapshot

CompletionKey = tuple[str, int]
"""A completion's id, and the index of one of its candidates."""


@dataclass(frozen=True)
class Suggestion:
    """Text to insert at the cursor of `snapshot`. `id` is the server's, for `GET /v1/explain/{id}`."""

    text: str
    snapshot: Snapshot
    id: str
    model: str
    choice: int = 0
    """Index of the candidate within the server's response."""

    @property
    def key(self) -> CompletionKey:
        return self.id, self.choice
