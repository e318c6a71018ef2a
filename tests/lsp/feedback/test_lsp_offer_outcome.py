"""The outcome of a completion, derived from the changes of its document."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types

from lsp.feedback.offer_outcome import STABLE_S
from tests.lsp.feedback.desk import Desk


def test_a_completion_is_shown_once_it_was_stable() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    desk.wait(STABLE_S - 0.01)
    assert desk.kinds == []
    desk.wait(0.01)
    (shown,) = desk.events
    assert (shown.kind, shown.offer.key, shown.offer.chars, shown.offer.latency_ms) == (
        "shown",
        ("c", 0),
        10,
        12.5,
    )
    desk.wait(100)
    assert desk.kinds == ["shown"]


@pytest.mark.parametrize("hide", ["other key", "other answer"])
def test_a_completion_that_disappears_at_once_is_not_shown(hide: str) -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    desk.wait(0.2)
    if hide == "other key":
        desk.type("z")
    else:
        desk.offer("read()", name="d")
    desk.wait(0.4)
    assert desk.kinds == []


def test_accepted_whole() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    desk.wait(0.2)
    desk.insert("compute(1)")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 10)]


def test_typed_through_key_by_key() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute")
    desk.type("compute")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("typed_through", 7)]


def test_the_rest_is_accepted_after_typing_the_beginning() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    desk.type("com")
    desk.offer("pute(1)")
    desk.wait()
    desk.insert("pute(1)")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 7)]


def test_acceptance_word_by_word_and_then_other_text() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("read file now please")
    for word in ("read", " file"):
        desk.insert(word)
        desk.wait()
    desk.type("s")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [
        ("shown", 0),
        ("partly_accepted", 4),
        ("partly_accepted", 9),
    ]


def test_acceptance_word_by_word_to_the_end() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("read file")
    desk.insert("read")
    desk.insert(" file")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 9)]


def test_an_accepted_word_stays_accepted_if_the_rest_is_not() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("read file")
    desk.insert("read")
    desk.type(";")
    desk.wait()
    assert desk.kinds == ["shown", "partly_accepted"]


@pytest.mark.parametrize("instead", ["other key", "other place", "line gone", "other answer", "closed"])
def test_rejected(instead: str) -> None:
    desk = Desk("a = 1\nx = ‸\nb = 2\n")
    desk.offer("compute(1)")
    desk.wait()
    match instead:
        case "other key":
            desk.type("z")
        case "other place":
            desk.change((2, 5), (2, 5), "0")
        case "line gone":
            desk.change((0, 5), (2, 0), "\n")
        case "other answer":
            desk.offer("read()", name="d")
        case _:
            desk.events += desk.offers.closed(desk.lines, desk.now)
    desk.wait(STABLE_S - 0.01)
    desk.wait(0.01)
    assert [(one.kind, one.offer.key) for one in desk.events][:2] == [
        ("shown", ("c", 0)),
        ("rejected", ("c", 0)),
    ]


def test_a_typing_slip_is_not_a_rejection() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute")
    desk.wait()
    desk.type("cp", gap_s=0.05)
    desk.backspace()
    desk.insert("ompute")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 6)]


def test_a_menu_preview_in_the_text_is_not_an_acceptance() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute")
    desk.wait()
    desk.insert("compute")
    desk.wait(0.2)
    desk.insert("other_item", left=7)
    desk.wait()
    assert desk.kinds == ["shown", "rejected"]


@pytest.mark.parametrize("pause_s", [0.1, 5.0])
@pytest.mark.parametrize("rest", ["accepted", "rejected"])
def test_first_lines_are_offered_before_the_rest(pause_s: float, rest: str) -> None:
    desk = Desk("x = ‸\n")
    desk.offer("f(1)")
    desk.insert("f(1)")
    desk.wait(pause_s)
    desk.offer("\ny = 2")
    desk.wait()
    if rest == "accepted":
        desk.insert("\ny = 2")
    else:
        desk.type("z")
    desk.wait(40)
    first = [("partly_accepted" if pause_s < STABLE_S else "accepted", 4)]
    assert [(one.kind, one.chars) for one in desk.events if one.kind != "survived"] == [
        ("shown", 0),
        *first,
        *([("accepted", 10)] if rest == "accepted" else []),
    ]
    (survived,) = [one for one in desk.events if one.kind == "survived"]
    assert (survived.chars, survived.kept_ratio) == (10 if rest == "accepted" else 4, 1.0)


def test_the_editor_closes_brackets() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("f(a)(b)")
    desk.wait()
    desk.type("f")
    desk.insert("()")
    desk.at = (0, 6)
    desk.wait()
    assert desk.kinds == ["shown"]
    desk.insert("a)(b)", over=1)
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events][1:] == [("accepted", 5)]
    assert desk.text == "x = f(a)(b)\n"


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_closer_right_of_the_cursor_is_replaced(by_hand: bool) -> None:
    desk = Desk("x = f(‸)\n")
    desk.offer("path)")
    desk.wait()
    if by_hand:
        desk.type("path")
    else:
        desk.insert("path)", over=1)
    desk.wait()
    assert desk.text == "x = f(path)\n"
    assert desk.kinds == ["shown", "typed_through" if by_hand else "accepted"]


def test_indentation_added_by_the_editor_counts_as_one_key() -> None:
    desk = Desk("if x:‸\n")
    desk.offer("\n    y()")
    desk.wait()
    desk.insert("\n    ")
    desk.type("y()")
    desk.wait()
    assert desk.kinds == ["shown", "typed_through"]


def test_lengths_are_utf_16_units_with_lf_line_ends() -> None:
    desk = Desk("é = 1\r\nx = ‸\r\ny\r\n")
    desk.offer("'😀'\n  + 漢")
    desk.insert("'😀'\r\n  + 漢")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 10)]


@pytest.mark.parametrize("way", ["lines", "document", "rotated"])
def test_every_form_of_change_has_the_same_outcome(way: str) -> None:
    desk = Desk("a = 1\nx = 0‸\n    z\n")
    desk.offer("\n    y = 2")
    match way:
        case "lines":
            desk.change((1, 0), (2, 0), "x = 0\n    y = 2\n")
        case "document":
            desk.rewrite("a = 1\nx = 0\n    y = 2\n    z\n")
        case _:
            desk.change((2, 0), (2, 0), "    y = 2\n")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 10)]


def test_changes_above_move_the_place() -> None:
    desk = Desk("a = 1\nx = ‸\n")
    desk.offer("compute(1)")
    desk.wait()
    desk.change((0, 0), (0, 0), "import os\n\n")
    desk.at = (3, 4)
    desk.insert("compute(1)")
    desk.wait()
    assert desk.kinds == ["shown", "accepted"]


@pytest.mark.parametrize("command_first", [True, False])
def test_the_editors_report_and_its_change_are_one_acceptance(command_first: bool) -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    for _ in range(2):
        if command_first:
            desk.events += desk.offers.accepted(("c", 0), desk.now)
            assert desk.kinds == ["shown", "accepted"], "the report is taken as true at once"
        if desk.text == "x = \n":
            desk.insert("compute(1)")
        desk.events += desk.offers.accepted(("c", 0), desk.now)
    desk.wait(29)
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 10)]
    desk.wait(2)
    assert (desk.events[-1].after_s, desk.events[-1].kept_ratio) == (30, 1.0)


def test_a_single_character_is_accepted_if_the_editor_reports_it() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("y")
    desk.insert("y")
    desk.events += desk.offers.accepted(("c", 0), desk.now)
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("accepted", 1)]


@pytest.mark.parametrize("report_first", [True, False])
def test_copilots_partial_acceptance_of_a_single_character(report_first: bool) -> None:
    desk = Desk("x = ‸\n")
    desk.offer("(a)")
    if report_first:
        desk.events += desk.offers.accepted_part(("c", 0), "(a)", 1, desk.now)
    desk.insert("(")
    if not report_first:
        desk.events += desk.offers.accepted_part(("c", 0), "(a)", 1, desk.now)
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.events] == [("shown", 0), ("partly_accepted", 1)]


def test_copilots_shown_notification() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("one", "two")
    desk.events += desk.offers.shown(("c", 1), desk.now)
    desk.events += desk.offers.shown(("c", 1), desk.now)
    assert [(one.kind, one.offer.key) for one in desk.events] == [("shown", ("c", 1))]


def test_another_candidate_is_accepted() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)", "compute", "read()")
    desk.wait()
    desk.insert("compute")
    desk.wait()
    desk.wait()
    assert sorted((one.offer.key[1], one.kind) for one in desk.events) == [
        (0, "rejected"),
        (0, "shown"),
        (1, "accepted"),
        (1, "shown"),
    ]


def test_the_menus_selected_item_is_not_part_of_the_completion() -> None:
    span = types.Range(types.Position(0, 4), types.Position(0, 6))
    for accepted, kinds in (("compute(1)", ["shown", "accepted"]), ("compute", ["shown"])):
        desk = Desk("x = co‸\n")
        desk.offer("(1)", selected=types.SelectedCompletionInfo(span, "compute"))
        desk.wait()
        desk.insert(accepted, left=2)
        desk.wait()
        assert desk.kinds == kinds
        assert desk.events[-1].chars == (3 if kinds[-1] == "accepted" else 0)
        assert desk.events[0].offer.chars == 3


PLACES = st.integers(0, 30)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("change"), PLACES, PLACES, st.sampled_from(["", "f", "f(x", "\n", "  ", "f(x)\n", "😀"])
        ),
        st.tuples(st.just("offer"), st.sampled_from(["f(x)", "f(x)\ny", "😀"]), st.sampled_from("ab")),
        st.tuples(st.just("report"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 0.6, 40.0, 400.0])),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(STEPS)
def test_any_steps_give_each_event_once_and_in_order(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    desk = Desk("a = f(‸)\n\tb\r\n😀\n")
    for step in steps:
        match step:
            case ("change", one, other, text):
                (start, end) = sorted((_place(desk, one), _place(desk, other)))
                desk.change(start, end, text)
                desk.at = start
            case ("offer", text, name):
                desk.offer(text, "z", name=name)
            case ("report", name, whole):
                key = (name, 0)
                reported = (
                    desk.offers.accepted(key, desk.now)
                    if whole
                    else desk.offers.accepted_part(key, "f", 1, desk.now)
                )
                desk.events += reported
            case _:
                desk.wait(step[1])
    desk.events += desk.offers.closed(desk.lines, desk.now)
    shown = [one.offer.key for one in desk.events if one.kind == "shown"]
    for position, one in enumerate(desk.events):
        assert 0 <= one.chars <= one.offer.chars
        if one.kind != "shown":
            assert ("shown", one.offer.key) in [(it.kind, it.offer.key) for it in desk.events[:position]]
        if one.kind == "survived":
            assert one.kept_ratio is not None
            assert 0 <= one.kept_ratio <= 1
    assert len(shown) <= sum(step[0] == "offer" for step in steps) * 2


def _place(desk: Desk, number: int) -> tuple[int, int]:
    line = number % len(desk.lines)
    return line, min(number // 3, len(desk.lines[line].rstrip("\r\n")))
