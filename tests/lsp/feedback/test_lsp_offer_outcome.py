"""What became of a completion, told from changes alone: one document, and a clock to turn by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types

from lsp.feedback.offer import OutcomeEvent
from lsp.feedback.offer_outcome import STANDS_S
from lsp.feedback.outcomes import offer_of
from lsp.feedback.watch import Watch
from lsp.keystroke.answer import Suggestion
from lsp.text.documents import Documents
from lsp.text.positions import units_from_index

URI = "file:///w/a.py"


class Desk:
    """`marked` is a document with the cursor at ‸. Everything that was told is in `told`."""

    def __init__(self, marked: str) -> None:
        before, after = marked.split("‸")
        self.documents = Documents()
        self.documents.open(types.TextDocumentItem(URI, "python", 1, before + after))
        self.watch = Watch()
        self.at = (before.count("\n"), len(before) - before.rfind("\n") - 1)
        self.now = 0.0
        self.told: list[OutcomeEvent] = []

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
        return [one.kind for one in self.told]

    def offer(
        self, *texts: str, name: str = "c", selected: types.SelectedCompletionInfo | None = None
    ) -> None:
        document = self.documents.get(URI)
        assert document is not None
        snapshot = document.snapshot(self._position(self.at), "utf-16", selected)
        suggestions = [Suggestion(text, snapshot, name, "m", index) for index, text in enumerate(texts)]
        self.told += self.watch.offered([offer_of(one, 12.5) for one in suggestions], self.now)

    def wait(self, seconds: float = STANDS_S) -> None:
        end = self.now + seconds
        while (due := self.watch.due) is not None and due <= end:
            self.now = max(self.now, due)
            self.told += self.watch.tick(self.lines, self.now)
        self.now = end

    def insert(self, text: str, over: int = 0, left: int = 0) -> None:
        """At the cursor, in place of so many characters right and left of it, as one change."""
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
        """As an editor that always sends the whole document."""
        self._send([types.TextDocumentContentChangeWholeDocument(text=text)])

    def _send(self, changes: list[types.TextDocumentContentChangeEvent]) -> None:
        edits = self.documents.change(URI, 2, changes)
        self.watch.changed(self.lines, edits, self.now)

    def _position(self, place: tuple[int, int]) -> types.Position:
        return types.Position(place[0], units_from_index(self.lines[place[0]], place[1], "utf-16"))


def test_what_stands_for_a_moment_was_shown() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    desk.wait(STANDS_S - 0.01)
    assert desk.kinds == []
    desk.wait(0.01)
    (shown,) = desk.told
    assert (shown.kind, shown.offer.key, shown.offer.chars, shown.offer.latency_ms) == (
        "shown",
        ("c", 0),
        10,
        12.5,
    )
    desk.wait(100)
    assert desk.kinds == ["shown"]


@pytest.mark.parametrize("hide", ["other key", "other answer"])
def test_what_only_flickered_was_not(hide: str) -> None:
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
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 10)]


def test_typed_through_key_by_key() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute")
    desk.type("compute")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("typed_through", 7)]


def test_the_rest_was_accepted() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    desk.type("com")
    desk.offer("pute(1)")
    desk.wait()
    desk.insert("pute(1)")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 7)]


def test_word_by_word_and_then_something_else() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("read file now please")
    for word in ("read", " file"):
        desk.insert(word)
        desk.wait()
    desk.type("s")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [
        ("shown", 0),
        ("partly_accepted", 4),
        ("partly_accepted", 9),
    ]


def test_word_by_word_to_the_end() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("read file")
    desk.insert("read")
    desk.insert(" file")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 9)]


def test_an_accepted_word_stays_accepted_when_the_rest_is_not() -> None:
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
            desk.told += desk.watch.closed(desk.lines, desk.now)
    desk.wait(STANDS_S - 0.01)
    desk.wait(0.01)
    assert [(one.kind, one.offer.key) for one in desk.told][:2] == [
        ("shown", ("c", 0)),
        ("rejected", ("c", 0)),
    ]


def test_a_slip_of_the_finger_is_no_rejection() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute")
    desk.wait()
    desk.type("cp", gap_s=0.05)
    desk.backspace()
    desk.insert("ompute")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 6)]


def test_a_menu_that_previews_its_items_in_the_text() -> None:
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
def test_the_first_lines_and_then_the_rest(pause_s: float, rest: str) -> None:
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
    first = [("partly_accepted" if pause_s < STANDS_S else "accepted", 4)]
    assert [(one.kind, one.chars) for one in desk.told if one.kind != "survived"] == [
        ("shown", 0),
        *first,
        *([("accepted", 10)] if rest == "accepted" else []),
    ]
    (survived,) = [one for one in desk.told if one.kind == "survived"]
    assert (survived.chars, survived.kept_ratio) == (10 if rest == "accepted" else 4, 1.0)


def test_brackets_that_the_editor_closes() -> None:
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
    assert [(one.kind, one.chars) for one in desk.told][1:] == [("accepted", 5)]
    assert desk.text == "x = f(a)(b)\n"


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_closer_that_stands_there_already(by_hand: bool) -> None:
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


def test_indentation_that_the_editor_adds_is_one_key() -> None:
    desk = Desk("if x:‸\n")
    desk.offer("\n    y()")
    desk.wait()
    desk.insert("\n    ")
    desk.type("y()")
    desk.wait()
    assert desk.kinds == ["shown", "typed_through"]


def test_lengths_are_utf_16_units_and_line_ends_lf() -> None:
    desk = Desk("é = 1\r\nx = ‸\r\ny\r\n")
    desk.offer("'😀'\n  + 漢")
    desk.insert("'😀'\r\n  + 漢")
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 10)]


@pytest.mark.parametrize("way", ["lines", "document", "rotated"])
def test_however_the_editor_reports_it(way: str) -> None:
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
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 10)]


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
def test_the_editors_word_and_its_change(command_first: bool) -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)")
    for _ in range(2):
        if command_first:
            desk.told += desk.watch.accepted(("c", 0), desk.now)
            assert desk.kinds == ["shown", "accepted"], "believed at once"
        if desk.text == "x = \n":
            desk.insert("compute(1)")
        desk.told += desk.watch.accepted(("c", 0), desk.now)
    desk.wait(29)
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 10)]
    desk.wait(2)
    assert (desk.told[-1].after_s, desk.told[-1].kept_ratio) == (30, 1.0)


def test_one_key_that_was_accepted_and_not_typed() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("y")
    desk.insert("y")
    desk.told += desk.watch.accepted(("c", 0), desk.now)
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("accepted", 1)]


@pytest.mark.parametrize("told_first", [True, False])
def test_copilots_partial_acceptance_of_a_single_character(told_first: bool) -> None:
    desk = Desk("x = ‸\n")
    desk.offer("(a)")
    if told_first:
        desk.told += desk.watch.claimed(("c", 0), "(a)", 1, desk.now)
    desk.insert("(")
    if not told_first:
        desk.told += desk.watch.claimed(("c", 0), "(a)", 1, desk.now)
    desk.wait()
    assert [(one.kind, one.chars) for one in desk.told] == [("shown", 0), ("partly_accepted", 1)]


def test_copilots_shown() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("one", "two")
    desk.told += desk.watch.shown(("c", 1), desk.now)
    desk.told += desk.watch.shown(("c", 1), desk.now)
    assert [(one.kind, one.offer.key) for one in desk.told] == [("shown", ("c", 1))]


def test_another_candidate_was_chosen() -> None:
    desk = Desk("x = ‸\n")
    desk.offer("compute(1)", "compute", "read()")
    desk.wait()
    desk.insert("compute")
    desk.wait()
    desk.wait()
    assert sorted((one.offer.key[1], one.kind) for one in desk.told) == [
        (0, "rejected"),
        (0, "shown"),
        (1, "accepted"),
        (1, "shown"),
    ]


def test_the_selected_item_of_the_editors_menu_is_not_ours() -> None:
    span = types.Range(types.Position(0, 4), types.Position(0, 6))
    for accepted, kinds in (("compute(1)", ["shown", "accepted"]), ("compute", ["shown"])):
        desk = Desk("x = co‸\n")
        desk.offer("(1)", selected=types.SelectedCompletionInfo(span, "compute"))
        desk.wait()
        desk.insert(accepted, left=2)
        desk.wait()
        assert desk.kinds == kinds
        assert desk.told[-1].chars == (3 if kinds[-1] == "accepted" else 0)
        assert desk.told[0].offer.chars == 3


PLACES = st.integers(0, 30)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("change"), PLACES, PLACES, st.sampled_from(["", "f", "f(x", "\n", "  ", "f(x)\n", "😀"])
        ),
        st.tuples(st.just("offer"), st.sampled_from(["f(x)", "f(x)\ny", "😀"]), st.sampled_from("ab")),
        st.tuples(st.just("said"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 0.6, 40.0, 400.0])),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_happens_each_is_told_once_and_in_order(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    desk = Desk("a = f(‸)\n\tb\r\n😀\n")
    for step in steps:
        match step:
            case ("change", one, other, text):
                (start, end) = sorted((_place(desk, one), _place(desk, other)))
                desk.change(start, end, text)
                desk.at = start
            case ("offer", text, name):
                desk.offer(text, "z", name=name)
            case ("said", name, whole):
                key = (name, 0)
                told = (
                    desk.watch.accepted(key, desk.now) if whole else desk.watch.claimed(key, "f", 1, desk.now)
                )
                desk.told += told
            case _:
                desk.wait(step[1])
    desk.told += desk.watch.closed(desk.lines, desk.now)
    shown = [one.offer.key for one in desk.told if one.kind == "shown"]
    for position, one in enumerate(desk.told):
        assert 0 <= one.chars <= one.offer.chars
        if one.kind != "shown":
            assert ("shown", one.offer.key) in [(it.kind, it.offer.key) for it in desk.told[:position]]
        if one.kind == "survived":
            assert one.kept_ratio is not None
            assert 0 <= one.kept_ratio <= 1
    assert len(shown) <= sum(step[0] == "offer" for step in steps) * 2


def _place(desk: Desk, number: int) -> tuple[int, int]:
    line = number % len(desk.lines)
    return line, min(number // 3, len(desk.lines[line].rstrip("\r\n")))
