"""How much of an accepted text still stands, through edits in it, around it, and over it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp.feedback.offer import Offer
from lsp.feedback.survival import AcceptedText
from lsp.text.documents import Document
from lsp.text.edits import Edit, advanced, between, text_between, text_from, trimmed
from lsp.text.positions import split_lines
from tests.lsp.feedback.test_lsp_offer_outcome import Desk

ACCEPTED = "total = compute(1)\n    show(total)"


def accepted() -> Desk:
    """Survival is looked at 30, 120 and 360 s from now."""
    desk = Desk("def f():\n    ‸\n\nf()\n")
    desk.offer(ACCEPTED)
    desk.insert(ACCEPTED)
    desk.told += desk.watch.accepted(("c", 0), desk.now)
    desk.told.clear()
    return desk


def test_looked_at_three_times() -> None:
    desk = accepted()
    desk.wait(400)
    assert [(one.after_s, one.kept_ratio, one.chars) for one in desk.told] == [
        (after_s, 1.0, len(ACCEPTED)) for after_s in (30, 120, 360)
    ]
    assert desk.watch.due is None


def test_what_stands_shrinks() -> None:
    desk = accepted()
    desk.wait(60)
    desk.change((1, 4 + len("total = compute(1)")), (2, 4 + len("show(total)")), "")
    desk.wait(100)
    desk.change((1, 0), (2, 0), "")
    desk.wait(300)
    ratios = [one.kept_ratio for one in desk.told]
    assert ratios == [1.0, pytest.approx(len("total=compute(1)") / len("total=compute(1)show(total)")), 0.0]


@pytest.mark.parametrize("way", ["indented", "whole document", "around", "within", "renamed"])
def test_what_an_edit_leaves(way: str) -> None:
    desk = accepted()
    match way:
        case "indented":
            desk.change((1, 0), (2, 4), "        total = compute( 1 )\n        ")
        case "whole document":
            desk.rewrite("# new\n" + desk.text.replace("    ", "\t"))
        case "around":
            desk.change((2, 15), (2, 15), "  # and more of it\n    total = compute(1)")
            desk.change((1, 4), (1, 4), "before = total\n    ")
        case "within":
            desk.change((1, 4), (1, 4), "if x:\n        ")
            desk.change((2, 8 + 8), (2, 8 + 8), "1 + ")
        case _:
            desk.change((2, 9), (2, 14), "sum")
    desk.wait(31)
    kept = {"renamed": 1 - len("total") / len("total=compute(1)show(total)")}
    assert [one.kept_ratio for one in desk.told] == [pytest.approx(kept.get(way, 1.0))]


def test_a_closed_document_stays_as_it_was() -> None:
    desk = accepted()
    desk.change((2, 4), (2, 15), "")
    desk.told += desk.watch.closed(desk.lines, desk.now)
    while (due := desk.watch.due) is not None:
        desk.told += desk.watch.tick((), due)
    assert [one.after_s for one in desk.told] == [30, 120, 360]
    assert len({one.kept_ratio for one in desk.told}) == 1
    assert 0.5 < (desk.told[0].kept_ratio or 0) < 1


def test_of_a_part_only_the_part_is_looked_for() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("read file now")
    desk.insert("read")
    desk.wait(1)
    desk.insert(" file")
    desk.wait(1)
    desk.type(";")
    desk.wait(30)
    assert [(one.kind, one.chars, one.kept_ratio) for one in desk.told[-1:]] == [("survived", 9, 1.0)]


def test_nothing_typed_by_hand_is_looked_for() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute")
    desk.type("compute")
    desk.wait(400)
    assert desk.kinds == ["shown", "typed_through"]


PIECES = st.lists(st.sampled_from(["ab", "a", "\n", "\r\n", "\r", "😀", "  "]), max_size=8).map("".join)


@given(PIECES, PIECES, PIECES, PIECES)
def test_an_edit_is_what_changed_and_no_more(head: str, old: str, new: str, tail: str) -> None:
    whole = between(split_lines(head + old + tail), split_lines(head + new + tail))
    part = trimmed(advanced((0, 0), head), old, new)
    for edit in (whole, part):
        if "\r" in head + old + new + tail:
            continue  # lone CRs that meet an LF make one line end of two: places shift by a line
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


def test_a_huge_text_in_between_is_read_up_to_a_limit() -> None:
    planted = AcceptedText(Offer(("c", 0), (0, 0), "a = 1", ""), 0.0, (0, 0), "a = 1")
    document = Document("file:///a", "python", 1, ["a = 1"])
    planted.changed(Edit((0, 2), (0, 2), "x" * 50_000 + " "))
    document.lines[0] = "a " + "x" * 50_000 + " = 1"
    assert 0 < planted.ratio(document.lines) < 1
