"""The open documents, and the part of one that a request needs: the first step of the keystroke flow.

Documents are lists of lines, so that a keystroke in a file of 10 MB changes one line. pygls keeps one string
and splits it again at every change, so lsp/server.py sends the changes here instead.

A `Snapshot` is immutable: a window of the text around the cursor. It begins at a line whose number is a
multiple of `WINDOW_STEP_LINES`, so that its beginning does not move while the user types: the server's KV
cache is valid only as long as the prompt begins with the same characters.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsprotocol import types

from lsp.text.edits import Edit, between, text_between, trimmed
from lsp.text.many_changes import changed_together
from lsp.text.positions import (
    Encoding,
    content,
    index_from_units,
    join_surrogates,
    readable,
    split_lines,
    units_from_index,
)

SNAPSHOT_PREFIX_CHARS = 48_000  # more than the context of any served model; the server cuts further
SNAPSHOT_SUFFIX_CHARS = 8_000
WINDOW_STEP_LINES = 64  # the window's beginning moves by this many lines
MANY_CHANGES = 64  # in one notification: more than cursors of a user, as of "replace all"
LONG_LINE_STEP_CHARS = 4_096  # the same within a line that is longer than the window

MAX_PATH_CHARS = 4_096  # the HTTP API's limit

_UNTYPED = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")


@dataclass(frozen=True)
class Selected:
    """The selected item of the editor's own menu: `text` would replace `range`, which holds the cursor."""

    text: str
    range: types.Range
    left: int
    """Code points before the cursor that it would replace."""
    right: int
    """The same after the cursor."""


@dataclass(frozen=True)
class Snapshot:
    """The text around a cursor, at one version. Its lines end with LF, whatever the document's end with.

    If an item is `selected`, prefix and suffix are as if it had been accepted; the cursor is where it is.
    """

    uri: str
    language: str
    version: int
    line: int
    index: int
    """Code points before the cursor on its line."""
    column: int
    """The same in the units of the client's position encoding."""
    prefix: str
    suffix: str
    line_after: str
    """From the cursor to the end of its line."""
    eol: str
    selected: Selected | None = None

    @property
    def line_before(self) -> str:
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @property
    def looks_binary(self) -> bool:
        """Return whether the window has a NUL, or over a tenth of characters that no keyboard types."""
        window = self.prefix + self.suffix
        return "\0" in window or len(_UNTYPED.findall(window)) * 10 > len(window)


@dataclass
class Document:
    """One open document. Mutable: the editor's changes are applied to it in order."""

    uri: str
    language: str
    version: int
    lines: list[str]
    changed_at: float = field(default_factory=time.monotonic)
    changed_line: int = 0

    def apply(self, change: types.TextDocumentContentChangeEvent, encoding: Encoding) -> Edit:
        """Apply a change of a range or of the whole document; return the part that really changed."""
        self.changed_at = time.monotonic()
        if isinstance(change, types.TextDocumentContentChangeWholeDocument):
            old, self.lines = self.lines, split_lines(join_surrogates(change.text))
            self.changed_line = 0
            return between(old, self.lines)
        first, start = self.locate(change.range.start, encoding)
        last, end = self.locate(change.range.end, encoding)
        if (last, end) < (first, start):
            first, start, last, end = last, end, first, start
        edit = trimmed((first, start), text_between(self.lines, (first, start), (last, end)), change.text)
        text = join_surrogates(self.lines[first][:start] + change.text + self.lines[last][end:])
        if first > 0 and text.startswith("\n") and self.lines[first - 1].endswith("\r"):
            # A lone CR and the LF that now follows it are one line end.
            first -= 1
            text = self.lines[first] + text
        new = split_lines(text)
        if last + 1 < len(self.lines):
            new.pop()  # the last changed line's end is in `text`; the next line follows it
        self.lines[first : last + 1] = new
        self.changed_line = first + len(new) - 1
        return edit

    def apply_many(
        self, changes: Sequence[types.TextDocumentContentChangeEvent], encoding: Encoding
    ) -> list[Edit]:
        """Apply the changes of one notification, in order. Many changes are returned as one edit."""
        lines = changed_together(self.lines, changes, encoding) if len(changes) > MANY_CHANGES else None
        if lines is None:
            return [self.apply(change, encoding) for change in changes]
        self.changed_at = time.monotonic()
        old, self.lines = self.lines, lines
        edit = between(old, lines)
        self.changed_line = edit.start[0]
        return [edit]

    def locate(self, position: types.Position, encoding: Encoding) -> tuple[int, int]:
        """Return the line and the code point index of an LSP position, moved into the document if outside."""
        if position.line >= len(self.lines):
            return len(self.lines) - 1, len(content(self.lines[-1]))
        line = content(self.lines[position.line])
        return position.line, index_from_units(line, position.character, encoding)

    def snapshot(
        self,
        position: types.Position,
        encoding: Encoding,
        selected: types.SelectedCompletionInfo | None = None,
    ) -> Snapshot:
        line, index = self.locate(position, encoding)
        snapshot = self.snapshot_at(line, index, encoding)
        if selected is None:
            return snapshot
        start, end = (self.locate(at, encoding) for at in (selected.range.start, selected.range.end))
        if not (line, 0) <= start <= (line, index) <= end < (line + 1, 0):
            return snapshot  # the cursor has moved since
        item = Selected(readable(selected.text), selected.range, index - start[1], end[1] - index)
        return replace(
            snapshot,
            prefix=snapshot.prefix[: len(snapshot.prefix) - item.left] + item.text,
            suffix=snapshot.suffix[item.right :],
            line_after=snapshot.line_after[item.right :],
            selected=item,
        )

    def snapshot_at(self, line: int, index: int, encoding: Encoding) -> Snapshot:
        """Return the window around the code point at `index` of `line`."""
        current = self.lines[line]
        after = content(current)[index:]
        nearby_ends = current[len(content(current)) :] or self.lines[line - 1]
        return Snapshot(
            uri=self.uri,
            language=self.language,
            version=self.version,
            line=line,
            index=index,
            column=units_from_index(current, index, encoding),
            prefix=readable(_prefix_window(self.lines, line, index)),
            suffix=readable(_suffix_window(self.lines, line, index)),
            line_after=readable(after[:SNAPSHOT_SUFFIX_CHARS]),
            eol="\r\n" if nearby_ends.endswith("\r\n") else "\n",
        )


class Documents(dict[str, Document]):
    """All open documents, by URI. `encoding` is that of the editor's positions."""

    encoding: Encoding = "utf-16"

    def open(self, item: types.TextDocumentItem) -> None:
        lines = split_lines(join_surrogates(item.text))
        self[item.uri] = Document(item.uri, item.language_id, item.version, lines)

    def change(
        self, uri: str, version: int, changes: Sequence[types.TextDocumentContentChangeEvent]
    ) -> list[Edit]:
        document = self.get(uri)
        if document is None:
            return []  # the client never opened this document
        document.version = version
        return document.apply_many(changes, self.encoding)


def relative_path(uri: str, roots: Sequence[str]) -> str:
    """Return the path relative to the file's workspace folder, or the file's name if it is in none.

    It has at most MAX_PATH_CHARS, its last ones, and no lone surrogates: the server would refuse the request.
    """
    path = _path(uri)
    best = ""
    for root in (_path(root) for root in roots):
        if path.is_relative_to(root) and len(str(root)) > len(best):
            best = str(root)
    name = str(path.relative_to(best)) if best else path.name
    return readable(name[-MAX_PATH_CHARS:])


def _path(uri: str) -> PurePosixPath:
    try:
        return PurePosixPath(unquote(urlsplit(uri).path))
    except ValueError:  # not a URI; its last part is still a usable name
        return PurePosixPath(uri)


def _prefix_window(lines: list[str], line: int, index: int) -> str:
    head = lines[line][:index]
    if len(head) >= SNAPSHOT_PREFIX_CHARS:
        over = len(head) - SNAPSHOT_PREFIX_CHARS
        return head[-(-over // LONG_LINE_STEP_CHARS) * LONG_LINE_STEP_CHARS :]
    first, chars = line, len(head)
    while first > 0 and chars + len(lines[first - 1]) <= SNAPSHOT_PREFIX_CHARS:
        first -= 1
        chars += len(lines[first])
    if first > 0:
        # If lines are long, a whole step could cost most of the window: then take a finer step.
        for step in (WINDOW_STEP_LINES, WINDOW_STEP_LINES // 8, 1):
            start = -(-first // step) * step
            if start <= line and sum(map(len, lines[first:start])) <= SNAPSHOT_PREFIX_CHARS // 4:
                first = start
                break
    return "".join(lines[first:line]) + head


def _suffix_window(lines: list[str], line: int, index: int) -> str:
    parts = [lines[line][index:]]
    chars = len(parts[0])
    for following in range(line + 1, len(lines)):
        if chars + len(lines[following]) > SNAPSHOT_SUFFIX_CHARS:
            break
        parts.append(lines[following])
        chars += len(lines[following])
    return "".join(parts)[:SNAPSHOT_SUFFIX_CHARS]
