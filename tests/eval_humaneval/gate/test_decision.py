"""Tests of the gate on runs: verdicts, reasons, margins, the second look, and incomparable runs."""

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from acepilot.errors import ConfigError
from acepilot.models.gate_report import GateReport, JudgedModel
from eval_humaneval.gate.decision import EXIT_CODES, judge_runs
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.results import Cost, EvalConfig, LanguageScore, ProblemScore, Results

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EMPTY = LanguageScore(
    problems=0, samples=0, pass_at={}, timeout_rate=0, compile_error_rate=0, truncated_rate=0
)


def run(passed: dict[str, list[int]], samples: int = 10, temperature: float = 0.2, **changes: Any) -> Results:
    """Return a run in which `passed[language][i]` of problem i's samples pass."""
    config = EvalConfig(
        problem_sets=["builtin"],
        problems_hash="p",
        languages=list(passed),
        samples=samples,
        temperature=temperature,
        top_p=0.95,
        max_tokens=256,
    )
    problems = [
        ProblemScore(
            id=f"{language}/{at}", cluster=f"p{at}", language=language, samples=samples, passed=count
        )
        for language, counts in passed.items()
        for at, count in enumerate(counts)
    ]
    fields: dict[str, Any] = {
        "model": JudgedModel(name="m", files={}, run="runs/m"),
        "engine": "torch",
        "settings": {},
        "config": config,
        "config_hash": config.model_dump_json(),
        "sandbox": "bubblewrap",
        "selftest_failed": [],
        "missing": {},
        "excluded": {},
        "created": NOW,
        "git_commit": None,
        "versions": {},
        "cost": Cost.model_construct(),
        "languages": {},
        "pool": EMPTY,
        "problems": problems,
    }
    return Results.model_construct(**fields | changes)


def judge(base: Results, candidate: Results, first: GateReport | None = None, **options: Any) -> GateReport:
    return judge_runs(base, candidate, GateOptions(**options), created=NOW, git_commit="abc", first=first)


def answers(seed: int, problems: int = 48, samples: int = 10, harder: float = 0.0) -> list[int]:
    """Return passed samples of problems whose rates are mostly near 0 or 1, and the same for every seed."""
    rates = np.random.default_rng(0).beta(0.2, 0.3, problems)
    return np.random.default_rng(seed).binomial(samples, rates * (1 - harder)).tolist()


LANGUAGES = ("go", "java", "php")


def test_a_run_passes_against_itself_sampled_anew() -> None:
    base = run({language: answers(1 + at) for at, language in enumerate(LANGUAGES)})
    candidate = run({language: answers(31 + at) for at, language in enumerate(LANGUAGES)})
    report = judge(base, candidate)
    assert (report.verdict, EXIT_CODES[report.verdict]) == ("PASS", 0)
    assert (report.alpha, report.enlarged, report.samples_to_decide) == (0.025, False, None)
    assert report.pool is not None
    assert (report.pool.problems, report.pool.samples) == (144, 10)
    assert list(report.languages) == list(LANGUAGES)
    for row in (report.pool, *report.languages.values()):
        assert row.difference == pytest.approx(row.candidate - row.base)
        assert -row.margin < row.lower < row.difference < row.upper
        assert 0 < row.smallest_visible_drop < row.smallest_failed_drop
    assert report.reasons[0].startswith("Nothing dropped beyond its margin.")
    assert "Margins above 2 points, because a run of this size" in report.reasons[1]
    assert GateReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("rates", [[0, 1], [1], [0]])
@pytest.mark.parametrize("problems", [2, 5, 48])
def test_greedy_runs_that_agree_pass(rates: list[int], problems: int) -> None:
    same = dict.fromkeys(LANGUAGES, (rates * problems)[:problems])
    report = judge(run(same, 1, 0), run(same, 1, 0))
    assert report.verdict == "PASS"
    assert report.alpha == 0.05  # no second look could follow
    assert report.languages["go"].lower < 0


def test_a_language_that_dropped_fails() -> None:
    good = {language: [10] * 40 for language in LANGUAGES}
    report = judge(run(good), run({**good, "java": [10] * 25 + [0] * 15}))
    assert (report.verdict, EXIT_CODES[report.verdict]) == ("FAIL", 1)
    assert report.languages["java"].verdict == "FAIL"
    assert {report.languages[name].verdict for name in ("go", "php")} == {"PASS"}
    assert report.reasons[0].startswith(
        "java: dropped by 37.5 points, from 100.0 to 62.5 (by more than 1: p ="
    )


def test_worst_language_comes_first() -> None:
    good = {language: [10] * 40 for language in LANGUAGES}
    report = judge(run(good), run({**good, "java": [10] * 25 + [0] * 15, "php": [10] * 15 + [0] * 25}))
    named = [reason.split(":")[0] for reason in report.reasons[:3]]
    assert named.index("php") < named.index("java")


def test_an_improvement_passes() -> None:
    base = {language: answers(1, harder=0.5) for language in LANGUAGES}
    report = judge(run(base), run({language: answers(2) for language in LANGUAGES}))
    assert report.verdict == "PASS"
    assert report.pool is not None
    assert report.pool.difference > 5


def undecided(samples: int = 10) -> tuple[Results, Results]:
    """Return runs with an unclear difference in PHP and none in Go."""
    unchanged = answers(1, samples=samples)
    base = run({"go": unchanged, "php": answers(2, samples=samples)}, samples)
    return base, run({"go": unchanged, "php": answers(7, samples=samples, harder=0.12)}, samples)


def test_the_report_names_the_samples_that_would_decide() -> None:
    base, candidate = undecided()
    report = judge(base, candidate)
    assert (report.verdict, EXIT_CODES[report.verdict]) == ("INCONCLUSIVE", 2)
    assert report.samples_to_decide is not None
    assert 20 <= report.samples_to_decide <= 200
    assert report.reasons[0].startswith(
        ("php: the difference is -", "all languages together: the difference")
    )
    assert "samples per problem" in report.reasons[0]


def test_the_report_names_the_problems_that_would_decide() -> None:
    """Every fourth problem is lost and as many are gained: no number of samples averages that out."""
    base = [20, 20, 0, 20] * 10
    candidate = [20, 0, 20, 20] * 10
    report = judge(run({"go": base}, 20), run({"go": candidate}, 20))
    assert report.verdict == "INCONCLUSIVE"
    assert report.samples_to_decide is None
    assert "More samples alone would not, because the problems differ too much" in report.reasons[0]
    assert "It takes about" in report.reasons[0]


def test_the_second_look_keeps_the_firsts_margins() -> None:
    first = judge(*undecided())
    second = judge(*undecided(40), first=first)
    assert second.enlarged
    assert second.alpha == first.alpha == 0.025
    assert {name: row.margin for name, row in second.languages.items()} == {
        name: row.margin for name, row in first.languages.items()
    }
    assert second.languages["go"].samples == 40


def test_one_look_alone_has_all_of_alpha() -> None:
    base, candidate = undecided()
    assert judge(base, candidate, enlarge=False).alpha == 0.05


def test_the_same_seed_gives_the_same_report() -> None:
    base, candidate = undecided()
    assert judge(base, candidate) == judge(base, candidate)
    assert (
        judge(base, candidate).languages["php"].lower != judge(base, candidate, seed=1).languages["php"].lower
    )


def test_default_margins_follow_from_the_base_and_not_from_the_damage() -> None:
    base = run({"go": answers(1)})
    margins = {judge(base, run({"go": other})).languages["go"].margin for other in (answers(2), [0] * 48)}
    assert len(margins) == 1


def test_default_margins_shrink_with_problems_and_samples() -> None:
    def margin(problems: int, samples: int) -> float:
        same = run({"go": answers(1, problems, samples)}, samples)
        return judge(same, same).languages["go"].margin

    assert margin(48, 10) > margin(164, 10) > margin(164, 40)
    assert margin(5000, 40) == 2


def test_given_margins_are_used() -> None:
    base, candidate = undecided()
    report = judge(base, candidate, pool_margin=20, language_margin=30, language_margins={"php": 40})
    assert report.pool is not None
    assert (report.pool.margin, report.languages["go"].margin, report.languages["php"].margin) == (20, 30, 40)
    assert report.verdict == "PASS"
    assert not any("Margins above" in reason for reason in report.reasons)  # they are the user's own


def test_a_margin_that_cannot_be_shown_names_what_would_show_it() -> None:
    base, candidate = undecided()
    with pytest.raises(ConfigError) as refused:
        judge(base, candidate, language_margins={"php": 3}, pool_margin=1)
    message = str(refused.value)
    assert "php: 48 problems with 10 samples each cannot show a margin of 3 points" in message
    assert "all languages together: 96 problems" in message
    assert message.count("to show this one, run about") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_margin": 0}, "margin of all languages together is 0"),
        ({"language_margins": {"go": 101}}, "margin of go is 101"),
        ({"drop_points": -1}, "drop that fails is -1"),
        ({"alpha": 0.5}, "alpha is 0.5"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GateOptions(**options)


def test_a_margin_for_a_language_that_was_not_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="There is a margin for cobol"):
        judge(*undecided(), language_margins={"cobol": 20})


SOUND = {"go": [10, 0], "php": [10, 0]}


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (
            run(SOUND, selftest_failed=["go/7"]),
            r"the candidate's machine the canonical solutions of problem go/7 fail",
        ),
        (run(SOUND, sandbox="limits only"), "sandboxes differ, bubblewrap and limits only"),
        (run(SOUND, engine="http"), "engines differ, torch and http"),
        (run(SOUND, versions={"node": "v22"}), "different versions of node: repeat the older one"),
        (run(SOUND, 20), r"configurations differ \(samples\)"),
        (run({"go": [10, 0]}), r"different languages \(php\)"),
        (run({"go": [10, 0], "php": [10]}), r"different problems: problem php/1 on one side"),
        (run(SOUND, problems=[]), "candidate's run has no problems"),
        (
            run(SOUND, problems=[*run(SOUND).problems[:-1], run(SOUND, 9).problems[-1]]),
            "harness failed on problem php/1 of the candidate: fewer than 10 samples",
        ),
    ],
)
def test_runs_that_cannot_be_compared(candidate: Results, reason: str) -> None:
    report = judge(run(SOUND), candidate)
    assert (report.verdict, EXIT_CODES[report.verdict]) == ("INFRASTRUCTURE", 3)
    assert report.pool is None
    assert not report.languages
    assert report.samples_to_decide is None
    assert re.search(reason, " ".join(report.reasons))


def test_a_language_that_could_not_be_asked_is_named() -> None:
    report = judge(run(SOUND, missing={"rust": "apt"}), run(SOUND, missing={"rust": "apt"}))
    assert report.reasons[-2:] == [
        "Not judged, because their tools are missing: rust.",
        "Not judged, because the runs have no problems in them: python, javascript, typescript, java, cpp, "
        "ruby, csharp, bash, vue.",
    ]
