"""Golden cases of tests/golden: each filter alone in sight, each proven to depend on its filter."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from acepilot.languages import LANGUAGES, language_for
from acepilot.postprocess import chain
from acepilot.postprocess.chain import Context, EarlyStop, choose_mode, finish

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = [
    pytest.param(path.stem, case, id=f"{path.stem}-{case['name']}")
    for path in sorted(GOLDEN.glob("*.toml"))
    for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
]
FIRING = [param for param in CASES if param.values[1].get("fires", True)]


def context_of(case: dict[str, Any]) -> Context:
    assert case["language"] in LANGUAGES
    language = language_for(case["language"])
    mode = case.get("mode") or choose_mode(case["prefix"], case["suffix"], language)
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
    """Token by token, ended by the early stop: what is offered is what filtering the whole text gives."""
    context, text = context_of(case), case["text"]
    stop, stopped = EarlyStop(context), False
    for end in range(1, len(text) + 1):
        progress = stop.feed(text[:end])
        if progress.stopped_by:
            text, stopped = text[: progress.visible], True
            break
    outcome = finish(text, context, truncated=case.get("truncated", False) and not stopped)
    assert outcome.text == case["expected"]


@pytest.mark.parametrize(("name", "case"), FIRING)
def test_each_filter_is_needed(name: str, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """`also` names the filters that would catch the case in its place; they are taken out with it."""
    out = {name, *case.get("also", ())}
    known = {each.name for each in (*chain.STOPS, *chain.FILTERS, chain.UNFINISHED)}
    assert out <= known
    monkeypatch.setattr(chain, "STOPS", tuple(each for each in chain.STOPS if each.name not in out))
    monkeypatch.setattr(chain, "FILTERS", tuple(each for each in chain.FILTERS if each.name not in out))
    truncated = case.get("truncated", False) and name != chain.UNFINISHED.name
    assert finish(case["text"], context_of(case), truncated=truncated).text != case["expected"]


def test_every_filter_has_golden_cases() -> None:
    names = {each.name for each in (*chain.STOPS, *chain.FILTERS, chain.UNFINISHED)}
    assert {param.values[0] for param in FIRING} == names
