"""How much of an accepted text still stands after edits in it, around it and over it."""

import pytest

from lsp.feedback.offer import Offer
from lsp.feedback.survival import AcceptedText
from lsp.text.documents import Document
from lsp.text.edits import Edit
from tests.lsp.feedback.desk import Desk

ACCEPTED = "total = compute(1)\n    show(total)"


def accepted() -> Desk:
    """Return a desk with an accepted text, whose survival is reported after 30, 120 and 360 s."""
    desk = Desk("def f():\n    ‸\n\nf()\n")
    desk.offer(ACCEPTED)
    desk.insert(ACCEPTED)
    desk.events += desk.offers.accepted(("c", 0), desk.now)
    desk.events.clear()
    return desk


def test_survival_is_reported_three_times() -> None:
    desk = accepted()
    desk.wait(400)
    assert [(one.after_s, one.kept_ratio, one.chars) for one in desk.events] == [
        (after_s, 1.0, len(ACCEPTED)) for after_s in (30, 120, 360)
    ]
    assert desk.offers.due is None


def test_deleting_parts_lowers_the_ratio() -> None:
    desk = accepted()
    desk.wait(60)
    desk.change((1, 4 + len("total = compute(1)")), (2, 4 + len("show(total)")), "")
    desk.wait(100)
    desk.change((1, 0), (2, 0), "")
    desk.wait(300)
    ratios = [one.kept_ratio for one in desk.events]
    assert ratios == [1.0, pytest.approx(len("total=compute(1)") / len("total=compute(1)show(total)")), 0.0]


@pytest.mark.parametrize("way", ["indented", "whole document", "around", "within", "renamed"])
def test_edits_around_and_within_the_text(way: str) -> None:
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
    assert [one.kept_ratio for one in desk.events] == [pytest.approx(kept.get(way, 1.0))]


def test_a_closed_document_keeps_its_last_ratio() -> None:
    desk = accepted()
    desk.change((2, 4), (2, 15), "")
    desk.events += desk.offers.closed(desk.lines, desk.now)
    while (due := desk.offers.due) is not None:
        desk.events += desk.offers.tick((), due)
    assert [one.after_s for one in desk.events] == [30, 120, 360]
    assert len({one.kept_ratio for one in desk.events}) == 1
    assert 0.5 < (desk.events[0].kept_ratio or 0) < 1


def test_only_the_accepted_part_must_survive() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("read file now")
    desk.insert("read")
    desk.wait(1)
    desk.insert(" file")
    desk.wait(1)
    desk.type(";")
    desk.wait(30)
    assert [(one.kind, one.chars, one.kept_ratio) for one in desk.events[-1:]] == [("survived", 9, 1.0)]


def test_typed_text_has_no_survival() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute")
    desk.type("compute")
    desk.wait(400)
    assert desk.kinds == ["shown", "typed_through"]


def test_a_long_insertion_is_compared_up_to_a_limit() -> None:
    accepted = AcceptedText(Offer(("c", 0), (0, 0), "a = 1", ""), 0.0, (0, 0), "a = 1")
    document = Document("file:///a", "python", 1, ["a = 1"])
    accepted.changed(Edit((0, 2), (0, 2), "x" * 50_000 + " "))
    document.lines[0] = "a " + "x" * 50_000 + " = 1"
    assert 0 < accepted.ratio(document.lines) < 1
