"""The small steps of the keystroke flow: ranges, trigger, debounce, context, logs."""

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from lsp.keystroke.context import BUDGET_CHARS, FAR_LINES, IDLE_S, Context
from lsp.keystroke.debounce import MAX_WAIT_MS, MIN_WAIT_MS, Debounce
from lsp.keystroke.trigger import refusal
from lsp.logs import NoPayload
from lsp.text.documents import Documents, Snapshot
from lsp.text.positions import split_lines
from lsp.text.ranges import reach


@pytest.mark.parametrize(
    ("text", "line_after", "replaced"),
    [
        ("a, b", ")", ""),
        ("a, b)", ")", ")"),
        ("a, b)", ");", ")"),
        ("a, b);", ");", ");"),
        ("foo()", ")", ""),
        ("foo())", ")", ")"),
        ("a) {\n  return a\n}", ")", ")"),
        ("a) {\n  return a\n}", ") {}", ")"),
        ('item.id"', '"', '"'),
        ("item.id", '"', ""),
        ('item.id" class="x"', '"', '"'),
        ('item.id" />', '" />', '" />'),
        ('key": [1, 2]}', '"}', '"}'),
        ('key": [1, 2]', '"}', '"'),
        ('f(")")', ")", ""),
        ("x  # don't\n)", ")", ")"),
        ('class="a">', "></div>", ">"),
        ("a = 5;", "= 5;", "= 5;"),
        ("ab", "b + c", ""),
        ("total", "", ""),
    ],
)
def test_no_stray_bracket(text: str, line_after: str, replaced: str) -> None:
    assert line_after[: reach(text, line_after)] == replaced


@given(st.text("ab()[]{}\"'`;\n ", max_size=30), st.text("ab()[]{}\"'`; ", max_size=12))
def test_a_reach_stays_on_the_line(text: str, line_after: str) -> None:
    assert 0 <= reach(text, line_after) <= len(line_after)


@given(
    st.recursive(st.just(""), lambda inner: st.tuples(inner, inner).map(lambda two: f"({two[0]}){two[1]}[]"))
)
def test_balanced_text_leaves_the_closer_alone(text: str) -> None:
    assert reach(text, ")") == 0
    assert reach(text + ")", ")") == 1


def snapshot(
    prefix: str = "x = ", suffix: str = "\n", uri: str = "file:///w/a.py", line: int = 0
) -> Snapshot:
    line_after = suffix.split("\n")[0]
    return Snapshot(uri, "python", 1, line, len(prefix), len(prefix), prefix, suffix, line_after, "\n")


def test_eight_characters_right_of_the_cursor_are_enough() -> None:
    assert refusal(snapshot(suffix="12345678  \n"), invoked=False) is None
    assert "9 characters" in (refusal(snapshot(suffix="123456789\n"), invoked=False) or "")
    assert refusal(snapshot(suffix="123456789\n"), invoked=True) is None
    assert "binary" in (refusal(snapshot(suffix="\0"), invoked=True) or "")


def typing(gap_ms: float, keys: int = 50) -> Debounce:
    debounce = Debounce()
    for key in range(keys):
        debounce.key(key * gap_ms)
    return debounce


def test_the_wait_follows_the_hand() -> None:
    fast, slow = typing(60), typing(250)
    assert fast.wait_ms("ab", "cd", invoked=False) == pytest.approx(60, rel=0.02)
    assert slow.wait_ms("ab", "cd", invoked=False) == pytest.approx(250, rel=0.02)


def test_a_pause_to_think_is_no_rhythm() -> None:
    debounce = typing(60)
    before = debounce.wait_ms("ab", "cd", invoked=False)
    debounce.key(60_000)
    assert debounce.wait_ms("ab", "cd", invoked=False) == before


def test_the_end_of_a_thought_waits_less() -> None:
    debounce = typing(200)
    within = debounce.wait_ms("ab", "cd", invoked=False)
    assert debounce.wait_ms("ab", "", invoked=False) < within
    assert debounce.wait_ms("ab(", "", invoked=False) < debounce.wait_ms("ab", "", invoked=False)


def test_a_slow_answer_shortens_the_wait_and_asking_by_hand_ends_it() -> None:
    debounce = typing(200)
    debounce.answered(150)
    assert debounce.wait_ms("ab", "cd", invoked=False) == pytest.approx(50, abs=5)
    debounce.answered(90_000)
    assert debounce.wait_ms("ab", "cd", invoked=False) == MIN_WAIT_MS
    assert debounce.wait_ms("ab", "cd", invoked=True) == 0
    assert typing(900).wait_ms("ab", "cd", invoked=False) == MAX_WAIT_MS


class Desk:
    """Open documents, a context over them, and a clock to turn by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.documents = Documents()
        self.context = Context(self.documents, lambda: ["file:///w"], lambda: self.now)

    def open(self, name: str, text: str) -> None:
        self.documents.open(types.TextDocumentItem(f"file:///w/{name}", "python", 1, text))

    def edit(self, name: str, version: int, text: str) -> None:
        change = types.TextDocumentContentChangeWholeDocument(text=text)
        self.documents.change(f"file:///w/{name}", version, [change])

    def paths(self, prefix: str, name: str = "a.py", line: int = 0) -> list[str]:
        here = snapshot(prefix, uri=f"file:///w/{name}", line=line)
        return [snippet.path for snippet in self.context.snippets(here)]


PREFIX = "total = parse_invoice(customer, amount)\n"
LIKE = "def parse_invoice(customer, amount):\n    return customer\n"
UNLIKE = "class Window:\n    width = 3\n    colour = None\n"


def test_similar_chunks_of_other_files_are_snippets() -> None:
    desk = Desk()
    desk.open("a.py", PREFIX + LIKE)
    desk.open("like.py", LIKE)
    desk.open("unlike.py", UNLIKE)
    assert desk.paths(PREFIX) == ["like.py"]


def test_the_ring_is_sticky() -> None:
    desk = Desk()
    desk.open("a.py", PREFIX)
    desk.open("one.py", LIKE)
    assert desk.paths(PREFIX) == ["one.py"]
    desk.open("two.py", LIKE + "amount = 3\n")
    assert desk.paths(PREFIX) == ["one.py"], "renewed although nothing called for it"
    desk.now += IDLE_S + 1
    assert desk.paths(PREFIX) == ["one.py", "two.py"], "what is new is appended"
    desk.open("three.py", LIKE)
    assert len(desk.paths(PREFIX, line=FAR_LINES)) == 2
    assert desk.paths(PREFIX, line=FAR_LINES + 1)[:2] == ["one.py", "two.py"]
    assert len(desk.paths(PREFIX, line=FAR_LINES + 1)) == 3


def test_what_was_edited_lately_is_worth_more() -> None:
    desk = Desk()
    desk.open("a.py", PREFIX)
    desk.open("edited.py", UNLIKE)
    assert desk.paths(PREFIX) == []
    desk.edit("edited.py", 2, UNLIKE + "x = 1\n")
    edited = desk.documents.get("file:///w/edited.py")
    assert edited is not None
    edited.changed_at = desk.now
    desk.now += IDLE_S + 1
    assert desk.paths(PREFIX) == ["edited.py"]


def test_snippets_stay_within_the_budget() -> None:
    desk = Desk()
    desk.open("a.py", PREFIX)
    desk.open("big.py", (LIKE + "# filler " + "y" * 60 + "\n") * 500)
    desk.open("long.py", LIKE + "#" * 20_000)
    snippets = desk.context.snippets(snapshot(PREFIX))
    assert 0 < sum(len(snippet.text) for snippet in snippets) <= BUDGET_CHARS
    assert {snippet.path for snippet in snippets} == {"big.py"}


def test_a_huge_file_is_read_around_its_last_edit() -> None:
    desk = Desk()
    desk.open("a.py", PREFIX)
    desk.open("huge.py", "x = 1\n" * 50_000)
    huge = desk.documents.get("file:///w/huge.py")
    assert huge is not None
    huge.lines[40_000:40_000] = split_lines(LIKE)[:-1]
    huge.changed_line = 40_000
    assert desk.paths(PREFIX) == ["huge.py"]


def test_logs_hold_no_payload() -> None:
    record = logging.LogRecord("pygls", logging.ERROR, "f", 1, "Failed: %s", ("secret",), None)
    assert NoPayload().format(record) == "ERROR pygls: Failed: %s"
    try:
        raise ValueError("secret")
    except ValueError:
        record.exc_info = sys.exc_info()
    shown = NoPayload().format(record)
    assert "ValueError" in shown
    assert "test_logs_hold_no_payload" in shown
    assert "secret" not in shown
