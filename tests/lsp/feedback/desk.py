"""A document, its offers, and a clock that the test sets."""

from lsprotocol import types

from lsp.feedback.document_offers import DocumentOffers
from lsp.feedback.offer import OutcomeEvent
from lsp.feedback.offer_outcome import STABLE_S
from lsp.feedback.outcomes import offer_of
from lsp.suggestion import Suggestion
from lsp.text.documents import Documents
from lsp.text.positions import units_from_index

URI = "file:///w/a.py"


class Desk:
    """`marked` is a document with the cursor at ‸. `events` holds every event so far."""

    def __init__(self, marked: str) -> None:
        before, after = marked.split("‸")
        self.documents = Documents()
        self.documents.open(types.TextDocumentItem(URI, "python", 1, before + after))
        self.offers = DocumentOffers()
        self.at = (before.count("\n"), len(before) - before.rfind("\n") - 1)
        self.now = 0.0
        self.events: list[OutcomeEvent] = []

    @property
    def lines(self) -> list[str]:
        document = self.documents.get(URI)
        assert document is not None
        return document.lines

    @property
    def text(self) -> str:
        return "".join(self.lines)

    @property
    def kinds(self) -> list[str]:
        return [one.kind for one in self.events]

    def offer(
        self, *texts: str, name: str = "c", selected: types.SelectedCompletionInfo | None = None
    ) -> None:
        document = self.documents.get(URI)
        assert document is not None
        snapshot = document.snapshot(self._position(self.at), "utf-16", selected)
        suggestions = [Suggestion(text, snapshot, name, "m", index) for index, text in enumerate(texts)]
        self.events += self.offers.offered([offer_of(one, 12.5) for one in suggestions], self.now)

    def wait(self, seconds: float = STABLE_S) -> None:
        end = self.now + seconds
        while (due := self.offers.due) is not None and due <= end:
            self.now = max(self.now, due)
            self.events += self.offers.tick(self.lines, self.now)
        self.now = end

    def insert(self, text: str, over: int = 0, left: int = 0) -> None:
        """Replace `left` characters before the cursor and `over` after it by `text`, as one change."""
        line, index = self.at
        self.change((line, index - left), (line, index + over), text)
        moved = text.split("\n")
        self.at = (line + len(moved) - 1, len(moved[-1]) + (index - left if len(moved) == 1 else 0))

    def type(self, text: str, gap_s: float = 0.1) -> None:
        for char in text:
            self.insert(char)
            self.wait(gap_s)

    def backspace(self) -> None:
        self.insert("", left=1)

    def change(self, start: tuple[int, int], end: tuple[int, int], text: str) -> None:
        span = types.Range(self._position(start), self._position(end))
        self._send([types.TextDocumentContentChangePartial(range=span, text=text)])

    def rewrite(self, text: str) -> None:
        """Change the document as an editor does that always sends the whole document."""
        self._send([types.TextDocumentContentChangeWholeDocument(text=text)])

    def _send(self, changes: list[types.TextDocumentContentChangeEvent]) -> None:
        edits = self.documents.change(URI, 2, changes)
        self.offers.changed(self.lines, edits, self.now)

    def _position(self, place: tuple[int, int]) -> types.Position:
        return types.Position(place[0], units_from_index(self.lines[place[0]], place[1], "utf-16"))
