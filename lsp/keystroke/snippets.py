"""Snippets for the prompt: chunks of other open files that resemble the text around the cursor.

Snippets come before the prefix in the prompt, so each change of them invalidates the server's KV cache. The
selection is therefore kept as long as possible. It is renewed only when the user changed to another file,
moved the cursor far, or paused while another file changed. A chunk that stays selected keeps its position;
new chunks are appended. The method is that of llama.vim's ring.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from acepilot.protocol import Snippet
from lsp.text.documents import Document, Documents, Snapshot, relative_path

CHUNK_LINES = 32
MAX_CHUNKS = 8
BUDGET_CHARS = 6_000  # of all selected chunks: about 2,000 tokens
FAR_LINES = 64  # a cursor that moved farther is at another place
IDLE_S = 5.0  # without a request: a pause, in which a colder KV cache is acceptable
MIN_SIMILARITY = 0.08
RECENT_EDIT_BONUS = 0.15  # added to the similarity of a chunk that was edited in the last RECENT_EDIT_S
RECENT_EDIT_S = 300.0
MAX_LINES_PER_FILE = 4_000
"""A longer file is generated or data; only this many lines around its last edit are read."""
SUFFIX_LINES = 8  # lines after the cursor that a chunk is compared with, besides CHUNK_LINES before it

_IDENTIFIER = re.compile(r"[^\W\d]\w{2,}")


@dataclass(frozen=True)
class Chunk:
    """CHUNK_LINES lines of one file, with their identifiers."""

    uri: str
    first_line: int
    text: str
    words: frozenset[str]


class OpenFileSnippets:
    """Selects the snippets for one editor. `roots` returns the URIs of the workspace folders."""

    def __init__(
        self,
        documents: Documents,
        roots: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._roots = roots
        self._clock = clock
        self._selected: list[Chunk] = []
        self._place: tuple[str, int] | None = None
        self._asked_at = 0.0
        self._seen_versions: dict[str, int] = {}
        self._chunks: dict[str, tuple[int, list[Chunk]]] = {}

    def path(self, uri: str) -> str:
        """Return the file name that the model reads."""
        return relative_path(uri, self._roots())

    def near(self, snapshot: Snapshot) -> list[Snippet]:
        """Return the selected chunks, oldest first, at most BUDGET_CHARS in all."""
        now = self._clock()
        if self._is_outdated(snapshot, now):
            self._renew(snapshot, now)
            self._place = (snapshot.uri, snapshot.line)
        self._asked_at = now
        return [Snippet(path=self.path(chunk.uri), text=chunk.text) for chunk in self._selected]

    def _is_outdated(self, snapshot: Snapshot, now: float) -> bool:
        if self._place is None or self._place[0] != snapshot.uri:
            return True
        if abs(self._place[1] - snapshot.line) > FAR_LINES:
            return True
        versions = {other.uri: other.version for other in self._others(snapshot)}
        return now - self._asked_at > IDLE_S and versions != self._seen_versions

    def _others(self, snapshot: Snapshot) -> list[Document]:
        return [document for document in self._documents.values() if document.uri != snapshot.uri]

    def _renew(self, snapshot: Snapshot, now: float) -> None:
        before, after = snapshot.prefix.split("\n")[-CHUNK_LINES:], snapshot.suffix.split("\n")[:SUFFIX_LINES]
        here = _words("\n".join(before + after))
        others = self._others(snapshot)
        self._seen_versions = {document.uri: document.version for document in others}
        self._chunks = {uri: kept for uri, kept in self._chunks.items() if uri in self._seen_versions}
        scored: list[tuple[float, Chunk]] = []
        for document in others:
            edited_lately = document.version > 1 and now - document.changed_at < RECENT_EDIT_S
            for chunk in self._chunks_of(document):
                score = _similarity(here, chunk.words)
                if edited_lately and 0 <= document.changed_line - chunk.first_line < CHUNK_LINES:
                    score += RECENT_EDIT_BONUS
                if score >= MIN_SIMILARITY:
                    scored.append((score, chunk))
        scored.sort(key=lambda pair: (-pair[0], pair[1].uri, pair[1].first_line))
        wanted: list[Chunk] = []
        budget = BUDGET_CHARS
        for _, chunk in scored:
            if len(wanted) < MAX_CHUNKS and len(chunk.text) <= budget:
                wanted.append(chunk)
                budget -= len(chunk.text)
        kept = [chunk for chunk in self._selected if chunk in wanted]
        # The most similar chunk comes last, nearest to the code that is being completed.
        self._selected = kept + [chunk for chunk in reversed(wanted) if chunk not in kept]

    def _chunks_of(self, document: Document) -> list[Chunk]:
        known = self._chunks.get(document.uri)
        if known is None or known[0] != document.version:
            known = (document.version, list(_split(document)))
            self._chunks[document.uri] = known
        return known[1]


def _split(document: Document) -> Iterator[Chunk]:
    first = 0
    if len(document.lines) > MAX_LINES_PER_FILE:
        first = max(0, document.changed_line - MAX_LINES_PER_FILE // 2) // CHUNK_LINES * CHUNK_LINES
    last = min(len(document.lines), first + MAX_LINES_PER_FILE)
    for start in range(first, last, CHUNK_LINES):
        lines = document.lines[start : min(start + CHUNK_LINES, last)]
        if sum(map(len, lines)) > BUDGET_CHARS:
            continue
        text = "".join(lines).replace("\r\n", "\n").strip("\n")
        if text.strip() and "\0" not in text:
            yield Chunk(document.uri, start, text.encode("utf-8", "replace").decode("utf-8"), _words(text))


def _words(text: str) -> frozenset[str]:
    return frozenset(_IDENTIFIER.findall(text))


def _similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard index: the size of the intersection divided by the size of the union."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0
