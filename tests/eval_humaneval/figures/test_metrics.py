"""Tests of scores: pass@k by enumeration, intervals against closed forms and by their coverage."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from acepilot.errors import ConfigError
from eval_humaneval.figures.metrics import language_score, pass_at_k, problem_scores, scores_by_language
from eval_humaneval.results import HoleMeasures, Interval, Outcome, Sample


def sample(problem: str, outcome: Outcome = "passed", index: int = 0, **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "problem": problem,
        "cluster": problem,
        "language": "python",
        "index": index,
        "completion": "",
        "outcome": outcome,
        "detail": "",
        "truncated": False,
        "tokens": 1,
        "seconds": 0.1,
    }
    return Sample(**fields | changes)


def answered(passed: list[int], samples: int, **changes: Any) -> list[Sample]:
    """Return samples of which `passed[i]` of problem i pass."""
    return [
        sample(f"p{number}", "passed" if index < count else "failed", index, **changes)
        for number, count in enumerate(passed)
        for index in range(samples)
    ]


def hole(**changes: Any) -> HoleMeasures:
    fields: dict[str, Any] = {
        "kind": "line",
        "block": "",
        "exact_match": False,
        "edit_similarity": 0.5,
        "parses": True,
        "log_likelihood": None,
    }
    return HoleMeasures(**fields | changes)


@pytest.mark.parametrize("passed", range(7))
@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_is_the_share_of_draws_with_a_pass(passed: int, k: int) -> None:
    draws = list(combinations([True] * passed + [False] * (6 - passed), k))
    assert pass_at_k(6, passed, k) == pytest.approx(np.mean([any(draw) for draw in draws]))


def test_pass_at_k_does_not_overflow() -> None:
    assert pass_at_k(10_000, 1, 100) == pytest.approx(0.01)
    assert pass_at_k(10_000, 0, 100) == 0.0


@pytest.mark.parametrize("k", [0, 6])
def test_a_k_above_the_number_of_samples_is_refused(k: int) -> None:
    with pytest.raises(ConfigError, match=f"pass@{k} needs k from 1 to the number of samples, 5"):
        pass_at_k(5, 2, k)


def test_pass_at_only_what_every_problem_has_samples_for() -> None:
    samples = [*answered([3, 10], 10), *(sample("short", index=index) for index in range(9))]
    assert set(language_score(samples).pass_at) == {1}
    assert set(language_score(answered([3, 10], 10)).pass_at) == {1, 10}


@pytest.mark.parametrize("passed", [0, 1, 7, 24, 48])
def test_one_sample_each_gives_clopper_and_pearsons_interval(passed: int) -> None:
    score = language_score(answered([1] * passed + [0] * (48 - passed), 1)).pass_at[1]
    low = stats.beta.ppf(0.025, passed, 49 - passed) if passed else 0.0
    high = stats.beta.ppf(0.975, passed + 1, 48 - passed) if passed < 48 else 1.0
    assert score.value == pytest.approx(100 * passed / 48)
    assert score.low == pytest.approx(100 * low, abs=0.7)
    assert score.high == pytest.approx(100 * high, abs=0.7)


def test_one_problem_tells_next_to_nothing() -> None:
    score = language_score(answered([10], 10)).pass_at[1]
    assert score.high == 100
    assert score.low == pytest.approx(2.5, abs=1)


def covered(rng: np.random.Generator, problems: int, samples: int, a: float, b: float) -> bool:
    passed = rng.binomial(samples, rng.beta(a, b, problems))
    runs = answered([int(count) for count in passed], samples)
    interval = language_score(runs, resamples=1000).pass_at[1]
    return interval.low <= 100 * a / (a + b) <= interval.high


@pytest.mark.parametrize(
    ("problems", "samples", "a", "b"), [(5, 10, 0.2, 0.3), (8, 1, 1, 9), (32, 5, 0.1, 1.9), (48, 1, 0.5, 0.5)]
)
def test_intervals_hold_the_truth_95_times_in_100(problems: int, samples: int, a: float, b: float) -> None:
    rng = np.random.default_rng(5)
    hits = sum(covered(rng, problems, samples, a, b) for _ in range(200))
    assert hits >= stats.binom.ppf(0.01, 200, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 10])
@pytest.mark.parametrize("problems", [5, 48, 164])
@pytest.mark.parametrize(("a", "b"), [(0.2, 0.3), (0.05, 0.95), (3, 0.1)])
def test_intervals_cover_for_every_size_and_rate(samples: int, problems: int, a: float, b: float) -> None:
    rng = np.random.default_rng(6)
    hits = sum(covered(rng, problems, samples, a, b) for _ in range(400))
    assert hits >= stats.binom.ppf(0.001, 400, 0.95)


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_the_pool_clusters_a_problem_over_its_languages() -> None:
    passed = [number % 3 for number in range(40)]
    languages = [answered(passed, 2, language=language) for language in ("go", "java", "php")]
    pool = language_score([one for group in languages for one in group])
    alone = language_score(languages[0])
    assert (pool.problems, pool.samples) == (120, 240)
    assert pool.pass_at[1].value == pytest.approx(alone.pass_at[1].value)
    # Three equal languages hold no more evidence than one.
    assert width(pool.pass_at[1]) == pytest.approx(width(alone.pass_at[1]))


def test_the_pool_counts_each_problem_in_each_language_once() -> None:
    samples = [*answered([4, 4, 4], 4, language="go"), *answered([0], 2, language="vue")]
    assert language_score(samples).pass_at[1].value == pytest.approx(75)
    by_language = scores_by_language(samples)
    assert {name: score.pass_at[1].value for name, score in by_language.items()} == {"go": 100, "vue": 0}


def test_rates_are_of_samples() -> None:
    outcomes: list[Outcome] = ["passed", "timeout", "compile_error", "compile_error"]
    samples = [sample("p", outcome, at, truncated=at > 0) for at, outcome in enumerate(outcomes)]
    score = language_score(samples)
    assert (score.timeout_rate, score.compile_error_rate, score.truncated_rate) == (0.25, 0.5, 0.75)


def test_what_the_harness_failed_to_judge_counts_for_nobody() -> None:
    samples = [sample("p"), sample("p", "infrastructure", 1), sample("lost", "infrastructure")]
    score = language_score(samples)
    assert (score.problems, score.samples, score.pass_at[1].value) == (1, 1, 100)
    assert [(row.id, row.samples, row.passed) for row in problem_scores(samples)] == [
        ("p", 1, 1),
        ("lost", 0, 0),
    ]


def test_a_run_without_samples_has_an_empty_score() -> None:
    score = language_score([])
    assert (score.problems, score.samples, score.pass_at, score.holes) == (0, 0, {}, {})


def test_problem_scores_keep_a_problems_languages_apart() -> None:
    samples = [*answered([1, 2], 2, language="go"), *answered([0, 1], 2, language="php")]
    rows = [(row.language, row.id, row.samples, row.passed) for row in problem_scores(samples)]
    assert rows == [("go", "p0", 2, 1), ("go", "p1", 2, 2), ("php", "p0", 2, 0), ("php", "p1", 2, 1)]


def test_holes_measures_are_means_over_holes() -> None:
    samples = [
        sample("a", hole=hole(exact_match=True, edit_similarity=1.0)),
        sample("a", index=1, hole=hole(edit_similarity=0.5)),
        sample("b", hole=hole(edit_similarity=0.25, parses=None)),
    ]
    holes = language_score(samples).holes
    assert {name: interval.value for name, interval in holes.items()} == {
        "exact_match": 25,
        "edit_similarity": 50,
        "parses": 100,
    }
    assert holes["parses"].low < 50  # one hole has a grammar


def test_log_likelihoods_interval_is_close_to_students() -> None:
    nats = np.random.default_rng(3).normal(-2, 0.7, 60)
    samples = [sample(f"p{at}", hole=hole(log_likelihood=value)) for at, value in enumerate(nats)]
    found = language_score(samples).holes["log_likelihood"]
    low, high = stats.t.interval(0.95, 59, nats.mean(), stats.sem(nats))
    assert (found.value, found.low, found.high) == pytest.approx((nats.mean(), low, high), abs=0.015)
