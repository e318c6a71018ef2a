"""The simulated developer: he types a trace, accepts correct ghost text, and waits for it in pauses."""

import asyncio
from dataclasses import dataclass, field

import pytest

from bench.typing.editor import PATIENCE_S, Developer, NoAnswer, Session, taken_length
from bench.typing.traces import Stroke, Trace

CODE = "total = sum(values)\nreturn total"


def trace_of(code: str, pause_at: int, pause_ms: float = 700) -> Trace:
    """Return a trace with a key every 5 ms, and with a pause before the character at `pause_at`."""
    strokes = tuple(Stroke(pause_ms if at == pause_at else 5, char) for at, char in enumerate(code))
    return Trace("a.py", "python", "def f(values):\n", "\n", strokes)


@dataclass
class Scripted:
    """An assistant that knows `code`. It answers with the next `longest` characters, after `delay_s`.

    After `answers` requests, it answers no more.
    """

    code: str
    delay_s: float = 0.0
    longest: int = 1000
    answers: int = 1000
    fails: bool = False
    text: str = ""
    cancelled: int = 0
    opened: list[str] = field(default_factory=list[str])

    async def open(self, name: str, language: str, before: str, after: str) -> None:
        self.opened.append(name)

    def insert(self, text: str) -> None:
        self.text += text

    def delete(self) -> None:
        self.text = self.text[:-1]

    async def ask(self) -> str:
        self.answers -= 1
        try:
            await asyncio.sleep(self.delay_s if self.answers >= 0 else 60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise NoAnswer("no")
        rest = self.code.removeprefix(self.text)
        return rest[: self.longest]

    async def close(self) -> None: ...


def work(assistant: Scripted, trace: Trace, patience_s: float = PATIENCE_S) -> Session:
    session = Session()
    asyncio.run(Developer(assistant, session, patience_s).work([trace]))
    assert assistant.text == trace.typed
    return session


def test_correct_ghost_text_is_accepted_and_not_typed() -> None:
    session = work(Scripted(CODE, delay_s=0.05, longest=11), trace_of(CODE, pause_at=8))
    [pause] = session.pauses
    assert pause.in_time
    assert 0.05 <= pause.waited_s < 0.4
    assert pause.taken_chars == session.kept_chars == 11
    assert session.keystrokes == len(CODE) - 11


def test_ghost_text_that_is_typed_along_has_a_time_of_0() -> None:
    session = work(Scripted(CODE), trace_of(CODE, pause_at=8))
    [pause] = session.pauses
    assert pause.shown
    assert pause.waited_s == 0


def test_typed_characters_are_removed_from_the_ghost_text() -> None:
    """The only answer comes at the start. In the pause the rest of it is shown and accepted."""
    assistant = Scripted(CODE, answers=1)
    strokes = (Stroke(100, CODE[0]), *trace_of(CODE, pause_at=8).strokes[1:])
    session = work(assistant, Trace("a.py", "python", "", "\n", strokes))
    [pause] = session.pauses
    assert pause.waited_s == 0
    assert pause.taken_chars == len(CODE) - 8
    assert session.keystrokes == 8


def test_late_ghost_text_is_neither_in_time_nor_accepted() -> None:
    session = work(Scripted(CODE, delay_s=1.0), trace_of(CODE, pause_at=8, pause_ms=520))
    [pause] = session.pauses
    assert pause.shown
    assert not pause.in_time
    assert pause.waited_s >= 1.0
    assert session.kept_chars == 0
    assert session.keystrokes == len(CODE)


def test_each_key_cancels_the_previous_request() -> None:
    assistant = Scripted(CODE, delay_s=0.2)
    session = work(assistant, trace_of(CODE, pause_at=-1))
    assert session.asked == len(CODE) + 1
    assert assistant.cancelled >= len(CODE) // 2


@pytest.mark.parametrize("assistant", [Scripted(CODE, fails=True), Scripted(CODE, delay_s=60)])
def test_no_answer_counts_as_the_whole_patience(assistant: Scripted) -> None:
    [pause] = work(assistant, trace_of(CODE, pause_at=8), patience_s=0.6).pauses
    assert not pause.answered
    assert not pause.shown
    assert pause.waited_s == 0.6


def test_an_empty_answer_is_an_answer() -> None:
    [pause] = work(Scripted(CODE, longest=0), trace_of(CODE, pause_at=8)).pauses
    assert pause.answered
    assert not pause.shown


@pytest.mark.parametrize(
    ("ghost", "remaining", "taken"),
    [
        ("values)", "values)\nreturn", "values)"),
        ("values)\nprint()", "values)\nreturn", "values)"),
        ("values)\nreturn total\n\nx", "values)\nreturn total", "values)\nreturn total"),
        ("values[0])", "values)", "values"),
        ("val[0]", "val)", ""),
        ("value", "values)", ""),
        ("values", "valuesOf(a)", ""),
        ("x + values", "x - values", ""),
        ("\n    return", "\n    raise", ""),
        ("\n    return x", "\n    return y", "\n    return"),
        (")", ")\n", ")"),
        ("other", "values", ""),
    ],
)
def test_the_accepted_part_is_exactly_what_comes_next(ghost: str, remaining: str, taken: str) -> None:
    assert ghost[: taken_length(ghost, remaining)] == taken
