"""A trace types the file's text with human timing, and depends on its seed alone."""

import statistics
from dataclasses import replace

import pytest

from bench.sources import OWN, ROOT, SourceFile
from bench.typing.traces import PAUSE_MS, PAUSE_RANGE_MS, Trace, developer_traces, make_trace

FILE = SourceFile(OWN[0], "python", (ROOT / OWN[0]).read_text(encoding="utf-8"))


@pytest.fixture
def trace() -> Trace:
    return make_trace(FILE, 300, seed=1)


def type_out(trace: Trace) -> str:
    """Return the text on the screen after all keys."""
    screen, offset = "", 0
    while offset < len(trace.typed):
        for key in trace.keys_at(offset):
            screen = screen + key.text if key.text else screen[:-1]
        offset = len(screen)
    return screen


def test_it_shows_and_types_the_file(trace: Trace) -> None:
    assert trace.before + trace.typed + trace.after == FILE.text
    assert type_out(trace) == trace.typed
    assert trace.after.startswith("\n")


def test_the_same_seed_makes_the_same_trace(trace: Trace) -> None:
    assert make_trace(FILE, 300, seed=1) == trace
    assert make_trace(FILE, 300, seed=2) != trace


def test_gaps_are_human() -> None:
    strokes = [stroke for seed in range(20) for stroke in make_trace(FILE, 300, seed).strokes]
    gaps = [stroke.gap_ms for stroke in strokes if stroke.gap_ms < PAUSE_MS]
    pauses = [stroke.gap_ms for stroke in strokes if stroke.gap_ms >= PAUSE_MS]
    assert 160 < statistics.mean(gaps) < 200
    assert min(pauses) >= PAUSE_RANGE_MS[0]
    assert max(pauses) <= PAUSE_RANGE_MS[1]
    assert 0.04 < len(pauses) / len(strokes) < 0.15
    assert 0.015 < sum(bool(stroke.slip) for stroke in strokes) / len(strokes) < 0.045


def test_a_slip_is_typed_and_deleted(trace: Trace) -> None:
    slipped = replace(trace.strokes[0], text="n", slip="m")
    keys = list(replace(trace, strokes=(slipped,)).keys_at(0))
    assert [key.text for key in keys] == ["m", "", "n"]


def test_enter_types_the_indentation_that_is_not_there_yet(trace: Trace) -> None:
    offset = trace.typed.index("\n    ")
    assert [key.text for key in trace.keys_at(offset)][-1].strip(" ") == "\n"
    assert [key.text for key in trace.keys_at(offset + 3)][-1].strip() == ""


def test_each_developer_types_at_another_place() -> None:
    files = [replace(FILE, name=f"{number}.py") for number in range(6)]
    work = [developer_traces(files, developer, 90, seed=1) for developer in range(4)]
    assert [len(traces) for traces in work] == [3, 3, 3, 3]
    assert {trace.name for trace in work[0]}.isdisjoint({trace.name for trace in work[1]})
    assert [trace.typed for trace in work[0]] != [trace.typed for trace in work[2]]
