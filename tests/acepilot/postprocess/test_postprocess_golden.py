"""The golden cases of tests/golden, one file per stop or filter; each case fails without its filter."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from acepilot.languages import LANGUAGES, language_for
from acepilot.postprocess.chain import FILTERS, HIDDEN, STOPS, UNFINISHED, EarlyStop, finish
from acepilot.postprocess.context import Context, locate
from acepilot.postprocess.mode import choose_mode

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = [
    pytest.param(path.stem, case, id=f"{path.stem}-{case['name']}")
    for path in sorted(GOLDEN.glob("*.toml"))
    for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
]
NAMES = {each.name for each in (*STOPS, *FILTERS, HIDDEN, UNFINISHED)}
FIRING = [param for param in CASES if param.values[1].get("fires", True)]
OPTIONAL = [param for param in FIRING if param.values[0] != HIDDEN.name]  # HIDDEN always runs


def context_of(case: dict[str, Any]) -> Context:
    assert case["language"] in LANGUAGES
    language = language_for(case["language"])
    mode = case.get("mode") or choose_mode(locate(case["prefix"], case["suffix"], language))
    return Context(case["prefix"], case["suffix"], language, mode)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_finished_text_is_filtered(name: str, case: dict[str, Any]) -> None:
    outcome = finish(case["text"], context_of(case), truncated=case.get("truncated", False))
    assert outcome.text == case["expected"]
    assert case.get("reason", "") in outcome.reason
    assert bool(outcome.reason) == (not outcome.text)
    assert (name in [report.name for report in outcome.filters]) == case.get("fires", True)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_stream_gives_the_same(name: str, case: dict[str, Any]) -> None:
    """Streamed character by character, with the early stop, a text gives what filtering it whole gives."""
    context, text = context_of(case), case["text"]
    stop, stopped = EarlyStop(context), False
    for end in range(1, len(text) + 1):
        progress = stop.feed(text[:end])
        if progress.stopped_by:
            text, stopped = text[: progress.visible], True
            break
    outcome = finish(text, context, truncated=case.get("truncated", False) and not stopped)
    assert outcome.text == case["expected"]


@pytest.mark.parametrize(("name", "case"), OPTIONAL)
def test_each_filter_is_needed(name: str, case: dict[str, Any]) -> None:
    """`also` names the filters that would catch the case too; they are left out with it."""
    left_out = {name, *case.get("also", ())}
    assert left_out <= NAMES
    outcome = finish(
        case["text"],
        context_of(case),
        truncated=case.get("truncated", False) and name != UNFINISHED.name,
        stops=[each for each in STOPS if each.name not in left_out],
        filters=[each for each in FILTERS if each.name not in left_out],
    )
    assert outcome.text != case["expected"]


def test_every_filter_has_golden_cases() -> None:
    assert {param.values[0] for param in FIRING} == NAMES
