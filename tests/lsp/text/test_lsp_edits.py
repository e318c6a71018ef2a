"""Edits: the exact change, and where places are after it."""

from hypothesis import given
from hypothesis import strategies as st

from lsp.text.edits import Edit, advanced, between, text_between, text_from, trimmed
from lsp.text.positions import split_lines

PIECES = st.lists(st.sampled_from(["ab", "a", "\n", "\r\n", "\r", "😀", "  "]), max_size=8).map("".join)


@given(PIECES, PIECES, PIECES, PIECES)
def test_an_edit_holds_only_what_changed(head: str, old: str, new: str, tail: str) -> None:
    whole = between(split_lines(head + old + tail), split_lines(head + new + tail))
    part = trimmed(advanced((0, 0), head), old, new)
    for edit in (whole, part):
        if "\r" in head + old + new + tail:
            continue  # a lone CR that meets an LF makes one line end of two, and places move by a line
        lines = split_lines(head + old + tail)
        before, after = (
            text_between(lines, (0, 0), edit.start),
            text_between(lines, edit.end, (len(lines), 0)),
        )
        assert before + edit.text + after == head + new + tail
        assert len(edit.text) <= len(new)
        assert edit.text == "" or before + edit.text != head + old or new == old


@given(PIECES, st.integers(0, 9), st.integers(0, 12))
def test_the_text_from_a_place(text: str, at: int, chars: int) -> None:
    lines = split_lines(text)
    line = at % len(lines)
    seen = "".join(lines[line:]).replace("\r\n", "\n").replace("\r", "\n")
    assert text_from(lines, (line, 0), chars) == seen[:chars]


def test_places_move_with_changes() -> None:
    edit = Edit((1, 2), (2, 3), "x\nyz")
    assert [edit.moved(place) for place in ((0, 9), (1, 2), (2, 1), (2, 3), (2, 5), (3, 0))] == [
        (0, 9),
        (1, 2),
        None,
        (2, 2),
        (2, 4),
        (3, 0),
    ]
