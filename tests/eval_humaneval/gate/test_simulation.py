"""Tests of how often the gate errs on simulated models: wrong FAIL, wrong PASS, power.

The quick tests use few candidates and find gross errors only; the slow tests check the stated rates. A gate
with the stated rate exceeds a test's limit once in 1,000 times; the seeds are fixed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from scipy import stats

from eval_humaneval.gate.laboratory.simulate import BUILTIN, HUMANEVAL, Population
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.gate.statistics import POOL

ONE = "language0"
QUICK, THOROUGH = 30, 250


def options(candidates: int, **changes: float | bool | Mapping[str, float]) -> GateOptions:
    return GateOptions(resamples=2000 if candidates == QUICK else 10_000, **changes)


def verdicts(population: Population, gate: GateOptions, candidates: int) -> Counter[str]:
    return Counter(population.judge(np.random.default_rng([9, at]), gate).verdict for at in range(candidates))


def at_most(rate: float, candidates: int) -> int:
    return int(stats.binom.ppf(0.999, candidates, rate))


def at_least(rate: float, candidates: int) -> int:
    return int(stats.binom.ppf(0.001, candidates, rate))


def sizes(*slow: int, quick: int = QUICK) -> Iterable[object]:
    return [quick, *(pytest.param(candidates, marks=pytest.mark.slow) for candidates in slow)]


def lost_everywhere(points: float) -> dict[str, float]:
    return dict.fromkeys(BUILTIN, points)


@pytest.mark.parametrize("candidates", sizes(THOROUGH))
@pytest.mark.parametrize(("problems", "samples"), [(BUILTIN, 10), (HUMANEVAL, 10), (HUMANEVAL, 20)])
def test_the_same_model_passes_and_hardly_ever_fails(
    problems: dict[str, int], samples: int, candidates: int
) -> None:
    found = verdicts(Population(problems, samples), options(candidates), candidates)
    assert found["PASS"] >= at_least(0.98, candidates)
    assert found["FAIL"] <= at_most(0.01, candidates)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.3, 0.1), (0.1, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("samples", [5, 20])
def test_the_same_model_passes_whatever_its_strength(rates: tuple[float, float], samples: int) -> None:
    found = verdicts(Population(BUILTIN, samples, rates=rates), options(THOROUGH), THOROUGH)
    assert found["PASS"] >= at_least(0.96, THOROUGH)
    assert found["FAIL"] <= at_most(0.03, THOROUGH)


@pytest.mark.parametrize("candidates", sizes(THOROUGH))
@pytest.mark.parametrize("damage", ["spread", "broken"])
@pytest.mark.parametrize("language", [ONE, "vue"])
def test_a_drop_as_large_as_its_margin_passes_no_more_often_than_alpha(
    damage: str, language: str, candidates: int
) -> None:
    margin = {ONE: 11.0, "vue": 15.0}[language]
    population = Population(BUILTIN, 10, damage, {language: margin})
    found = verdicts(population, options(candidates, language_margins={language: margin}), candidates)
    assert found["PASS"] <= at_most(0.05, candidates)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["spread", "broken"])
@pytest.mark.parametrize("samples", [5, 10, 20])
def test_a_pools_drop_as_large_as_its_margin_passes_no_more_often_than_alpha(
    damage: str, samples: int
) -> None:
    population = Population(BUILTIN, samples, damage, lost_everywhere(3.0))
    gate = options(THOROUGH, pool_margin=3.0)
    passed = sum(
        population.judge(np.random.default_rng([8, at]), gate).compared[POOL].verdict == "PASS"
        for at in range(THOROUGH)
    )
    assert passed <= at_most(0.05, THOROUGH)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["spread", "broken"])
@pytest.mark.parametrize(("problems", "margin"), [(164, 4.0), (164, 6.0), (48, 11.0), (20, 25.0), (12, 35.0)])
def test_one_language_alone_passes_wrongly_no_more_often_than_alpha(
    damage: str, problems: int, margin: float
) -> None:
    population = Population({"go": problems}, 10, damage, {"go": margin})
    gate = options(THOROUGH, pool_margin=margin, language_margin=margin)
    assert verdicts(population, gate, THOROUGH)["PASS"] <= at_most(0.05, THOROUGH)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["spread", "broken"])
def test_a_drop_of_what_is_tolerated_fails_no_more_often_than_stated(damage: str) -> None:
    """Languages and pool have alpha each; 1 point everywhere is the largest drop that should not fail."""
    population = Population(BUILTIN, 10, damage, lost_everywhere(1.0))
    assert verdicts(population, options(THOROUGH), THOROUGH)["FAIL"] <= at_most(0.10, THOROUGH)


@pytest.mark.parametrize("candidates", sizes(THOROUGH))
@pytest.mark.parametrize(
    ("damage", "lost", "power"),
    [
        ("spread", dict.fromkeys(list(BUILTIN)[:3], 8.0), 0.99),
        ("broken", dict.fromkeys(list(BUILTIN)[:3], 8.0), 0.5),
        ("broken", lost_everywhere(5.0), 0.95),
        ("broken", {ONE: 15.0}, 0.7),
    ],
)
def test_real_drops_fail_with_the_stated_power_and_do_not_pass(
    damage: str, lost: dict[str, float], power: float, candidates: int
) -> None:
    found = verdicts(Population(BUILTIN, 10, damage, lost), options(candidates), candidates)
    assert found["FAIL"] >= at_least(power, candidates)
    assert found["PASS"] <= at_most(0.02, candidates)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [5, 20])
def test_the_smallest_failed_drop_fails_four_times_in_five(samples: int) -> None:
    """The drop is spread over the problems, and as large as the report of an equal model states."""
    equal = Population(HUMANEVAL, samples).judge(np.random.default_rng(1), GateOptions(enlarge=False))
    lost = equal.compared["python"].smallest_failed_drop
    gate = GateOptions(enlarge=False)
    found = verdicts(Population(HUMANEVAL, samples, "spread", {"python": lost}), gate, THOROUGH)
    assert 0.65 < found["FAIL"] / THOROUGH < 0.95
