"""Documents and positions, compared with a slow model that keeps one string; and the snapshot's window."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types

from lsp.text.documents import SNAPSHOT_PREFIX_CHARS, SNAPSHOT_SUFFIX_CHARS, Document, relative_path
from lsp.text.many_changes import changed_together
from lsp.text.positions import Encoding, index_from_units, join_surrogates, split_lines, units_from_index

ENCODINGS: list[Encoding] = ["utf-8", "utf-16", "utf-32"]
WIDTHS = {"utf-8": 1, "utf-16": 2, "utf-32": 4}
PIECES = ["ab", " ", "\n", "\r", "\r\n", "\x0c", "\u2028", "é漢", "😀", "𝒳"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)
LINE = st.lists(st.sampled_from(["a", "é漢", "😀", "𝒳", "\x0c", "\u2028"]), max_size=12).map("".join)
MANY = settings(max_examples=400)


def units(text: str, encoding: Encoding) -> int:
    return len(text.encode(encoding if encoding == "utf-8" else encoding + "-le")) // WIDTHS[encoding]


def position_at(text: str, offset: int, encoding: Encoding) -> types.Position:
    """Return the LSP position of `offset`, by the specification: lines end at CRLF, LF and CR."""
    before = text[:offset]
    if before.endswith("\r") and text[offset : offset + 1] == "\n":
        raise AssertionError("between CR and LF there is no position")
    lines = re.split("\r\n|\n|\r", before)
    return types.Position(len(lines) - 1, units(lines[-1], encoding))


def offsets(text: str) -> list[int]:
    return [at for at in range(len(text) + 1) if text[max(at - 1, 0) : at + 1] != "\r\n"]


def document(text: str) -> Document:
    return Document("file:///work/a.py", "python", 1, split_lines(text))


@given(TEXT)
def test_lines_join_to_the_text(text: str) -> None:
    lines = split_lines(text)
    assert "".join(lines) == text
    assert [re.sub("\r\n|\n|\r", "", line) for line in lines] == re.split("\r\n|\n|\r", text)


@MANY
@given(st.data(), TEXT, st.sampled_from(ENCODINGS))
def test_changes_from_the_end_are_applied_together_as_one_by_one(
    data: st.DataObject, text: str, encoding: Encoding
) -> None:
    places = sorted(data.draw(st.lists(st.sampled_from(offsets(text)), min_size=2, max_size=10)))
    spans = list(zip(places[::2], places[1::2], strict=False))
    changes = [
        types.TextDocumentContentChangePartial(
            types.Range(position_at(text, start, encoding), position_at(text, end, encoding)), data.draw(TEXT)
        )
        for start, end in reversed(spans)
    ]
    one_by_one = document(text)
    together = changed_together(one_by_one.lines, changes, encoding)
    for change in changes:
        one_by_one.apply(change, encoding)
    assert together == one_by_one.lines or (together is None and re.search("\r(?!\n)", text))


@given(LINE, st.integers(0, 40), st.sampled_from(ENCODINGS))
def test_columns_convert_to_indices_and_back(line: str, index: int, encoding: Encoding) -> None:
    index = min(index, len(line))
    column = units_from_index(line, index, encoding)
    assert column == units(line[:index], encoding)
    assert index_from_units(line, column, encoding) == index


@given(LINE, st.sampled_from(ENCODINGS))
def test_a_column_inside_a_character_is_its_start(line: str, encoding: Encoding) -> None:
    for column in range(units(line, encoding) + 3):
        index = index_from_units(line, column, encoding)
        assert units(line[:index], encoding) <= column
        assert index == len(line) or units(line[: index + 1], encoding) > column


@MANY
@given(st.data(), TEXT, st.sampled_from(ENCODINGS))
def test_changes_are_the_editors_changes(data: st.DataObject, text: str, encoding: Encoding) -> None:
    mine = document(text)
    for _ in range(data.draw(st.integers(1, 5))):
        start, end = sorted(
            (data.draw(st.sampled_from(offsets(text))), data.draw(st.sampled_from(offsets(text))))
        )
        new = data.draw(TEXT)
        span = types.Range(position_at(text, start, encoding), position_at(text, end, encoding))
        mine.apply(types.TextDocumentContentChangePartial(range=span, text=new), encoding)
        text = text[:start] + new + text[end:]
        assert mine.lines == split_lines(text)


@given(st.data(), TEXT, st.sampled_from(ENCODINGS))
def test_a_snapshot_is_the_text_around_the_cursor(data: st.DataObject, text: str, encoding: Encoding) -> None:
    offset = data.draw(st.sampled_from(offsets(text)))
    position = position_at(text, offset, encoding)
    snapshot = document(text).snapshot(position, encoding)
    assert snapshot.prefix == re.sub("\r\n|\r", "\n", text[:offset])
    assert snapshot.suffix == re.sub("\r\n|\r", "\n", text[offset:])
    assert (snapshot.line, snapshot.column) == (position.line, position.character)
    assert snapshot.prefix.endswith(snapshot.line_before)
    assert snapshot.suffix.startswith(snapshot.line_after)
    assert "\n" not in snapshot.line_before + snapshot.line_after


def test_the_whole_text_can_change() -> None:
    mine = document("old\n")
    mine.apply(types.TextDocumentContentChangeWholeDocument(text="new\r\ntext"), "utf-16")
    assert mine.lines == ["new\r\n", "text"]


def test_a_position_beyond_the_end_is_the_end() -> None:
    snapshot = document("one\ntwo").snapshot(types.Position(9, 9), "utf-16")
    assert (snapshot.prefix, snapshot.suffix) == ("one\ntwo", "")


@pytest.mark.parametrize("column", [1, 2])
def test_halves_of_an_emoji_become_one(column: int) -> None:
    mine = document("ab")
    for half, at in (("\ud83d", 1), ("\ude00", 2)):
        here = types.Position(0, at)
        mine.apply(types.TextDocumentContentChangePartial(range=types.Range(here, here), text=half), "utf-16")
    assert mine.lines == ["a😀b"]
    assert mine.snapshot(types.Position(0, column), "utf-16").prefix == "a"
    assert join_surrogates("a\ud83d") == "a\ud83d"
    assert document("\ud83d").snapshot(types.Position(0, 1), "utf-16").prefix == "\ufffd"


@given(
    lengths=st.lists(st.sampled_from([0, 1, 40, 900, 3_000, 20_000]), min_size=1, max_size=9),
    repeat=st.integers(1, 300),
    data=st.data(),
)
def test_windows_are_limited_parts_of_the_text(lengths: list[int], repeat: int, data: st.DataObject) -> None:
    lengths = lengths * repeat
    mine = document("\n".join("x" * length for length in lengths))
    line = data.draw(st.integers(0, len(lengths) - 1))
    index = data.draw(st.integers(0, lengths[line]))
    snapshot = mine.snapshot_at(line, index, "utf-16")
    text, offset = "".join(mine.lines), sum(len(other) for other in mine.lines[:line]) + index
    assert text[:offset].endswith(snapshot.prefix)
    assert text[offset:].startswith(snapshot.suffix)
    assert len(snapshot.prefix) <= SNAPSHOT_PREFIX_CHARS
    assert len(snapshot.suffix) <= SNAPSHOT_SUFFIX_CHARS
    begin = offset - len(snapshot.prefix)
    assert begin == 0 or text[begin - 1] == "\n"
    if begin > 0:
        longest = max(len(other) for other in mine.lines)
        assert len(snapshot.prefix) >= SNAPSHOT_PREFIX_CHARS - SNAPSHOT_PREFIX_CHARS // 4 - longest


def test_the_windows_beginning_stays_while_the_user_types() -> None:
    mine = document("".join(f"line {number:06}\n" for number in range(20_000)))
    starts: set[str] = set()
    for line in range(15_000, 15_060):
        starts.add(mine.snapshot_at(line, 5, "utf-16").prefix[:11])
    assert len(starts) <= 2


def test_a_line_longer_than_the_window_is_cut_in_coarse_steps() -> None:
    mine = document("x" * 10 + "y" * 1_000_000)
    one = mine.snapshot_at(0, 500_000, "utf-16").prefix
    other = mine.snapshot_at(0, 500_100, "utf-16").prefix
    assert len(one) <= SNAPSHOT_PREFIX_CHARS
    assert len(other) == len(one) + 100


def test_binary_files_are_recognised() -> None:
    assert document("\x7fELF\0").snapshot(types.Position(0, 2), "utf-16").looks_binary
    assert document("\ufffd\ufffdab").snapshot(types.Position(0, 2), "utf-16").looks_binary
    assert not document("").snapshot(types.Position(0, 0), "utf-16").looks_binary
    assert not document("\x1b[31m漢\x0c = 'ok'\n").snapshot(types.Position(0, 2), "utf-16").looks_binary


def test_paths_are_relative_to_their_workspace_folder() -> None:
    roots = ["file:///work", "file:///work/web%20app"]
    assert relative_path("file:///work/web%20app/src/a.vue", roots) == "src/a.vue"
    assert relative_path("file:///work/b.py", roots) == "b.py"
    assert relative_path("file:///elsewhere/c.py", roots) == "c.py"
    assert relative_path("untitled:Untitled-1", roots) == "Untitled-1"
