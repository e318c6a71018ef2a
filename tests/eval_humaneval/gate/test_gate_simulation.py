"""How often the gate errs, in worlds whose truth is known: false alarms, wrong passes, power.

Few draws in the normal run, so that only a gross error shows; the slow tests hold the stated rates. Each
limit is what a gate with the stated rate exceeds once in a thousand times; the seeds are fixed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from scipy import stats

from eval_humaneval.gate.decision import GateOptions
from eval_humaneval.gate.simulation import BUILTIN, HUMANEVAL, World
from eval_humaneval.gate.statistics import POOL

ONE = "language0"
QUICK, THOROUGH = 30, 250


def options(draws: int, **changes: float | bool | Mapping[str, float]) -> GateOptions:
    return GateOptions(resamples=2000 if draws == QUICK else 10_000, **changes)


def verdicts(world: World, gate: GateOptions, draws: int) -> Counter[str]:
    return Counter(world.judge(np.random.default_rng([9, at]), gate).verdict for at in range(draws))


def at_most(rate: float, draws: int) -> int:
    return int(stats.binom.ppf(0.999, draws, rate))


def at_least(rate: float, draws: int) -> int:
    return int(stats.binom.ppf(0.001, draws, rate))


def sizes(*slow: int, quick: int = QUICK) -> Iterable[object]:
    return [quick, *(pytest.param(draws, marks=pytest.mark.slow) for draws in slow)]


def lost_everywhere(points: float) -> dict[str, float]:
    return dict.fromkeys(BUILTIN, points)


@pytest.mark.parametrize("draws", sizes(THOROUGH))
@pytest.mark.parametrize(("problems", "samples"), [(BUILTIN, 10), (HUMANEVAL, 10), (HUMANEVAL, 20)])
def test_the_same_model_passes_and_hardly_ever_fails(
    problems: dict[str, int], samples: int, draws: int
) -> None:
    found = verdicts(World(problems, samples), options(draws), draws)
    assert found["PASS"] >= at_least(0.98, draws)
    assert found["FAIL"] <= at_most(0.01, draws)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.3, 0.1), (0.1, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("samples", [5, 20])
def test_the_same_model_passes_whatever_its_strength(rates: tuple[float, float], samples: int) -> None:
    found = verdicts(World(BUILTIN, samples, rates=rates), options(THOROUGH), THOROUGH)
    assert found["PASS"] >= at_least(0.96, THOROUGH)
    assert found["FAIL"] <= at_most(0.03, THOROUGH)


@pytest.mark.parametrize("draws", sizes(THOROUGH))
@pytest.mark.parametrize("damage", ["spread", "broken"])
@pytest.mark.parametrize("language", [ONE, "vue"])
def test_a_drop_as_large_as_its_margin_passes_no_more_often_than_alpha(
    damage: str, language: str, draws: int
) -> None:
    margin = {ONE: 11.0, "vue": 15.0}[language]
    world = World(BUILTIN, 10, damage, {language: margin})
    found = verdicts(world, options(draws, language_margins={language: margin}), draws)
    assert found["PASS"] <= at_most(0.05, draws)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["spread", "broken"])
@pytest.mark.parametrize("samples", [5, 10, 20])
def test_a_pools_drop_as_large_as_its_margin_passes_no_more_often_than_alpha(
    damage: str, samples: int
) -> None:
    world = World(BUILTIN, samples, damage, lost_everywhere(3.0))
    gate = options(THOROUGH, pool_margin=3.0)
    passed = sum(
        world.judge(np.random.default_rng([8, at]), gate).compared[POOL].verdict == "PASS"
        for at in range(THOROUGH)
    )
    assert passed <= at_most(0.05, THOROUGH)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["spread", "broken"])
@pytest.mark.parametrize(("problems", "margin"), [(164, 4.0), (164, 6.0), (48, 11.0), (20, 25.0), (12, 35.0)])
def test_one_language_alone_passes_wrongly_no_more_often_than_alpha(
    damage: str, problems: int, margin: float
) -> None:
    world = World({"go": problems}, 10, damage, {"go": margin})
    gate = options(THOROUGH, pool_margin=margin, language_margin=margin)
    assert verdicts(world, gate, THOROUGH)["PASS"] <= at_most(0.05, THOROUGH)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["spread", "broken"])
def test_a_drop_of_what_is_tolerated_fails_no_more_often_than_stated(damage: str) -> None:
    """The languages have alpha, the pool has alpha: 1 point everywhere is the worst that is no failure."""
    world = World(BUILTIN, 10, damage, lost_everywhere(1.0))
    assert verdicts(world, options(THOROUGH), THOROUGH)["FAIL"] <= at_most(0.10, THOROUGH)


@pytest.mark.parametrize("draws", sizes(THOROUGH))
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
    damage: str, lost: dict[str, float], power: float, draws: int
) -> None:
    found = verdicts(World(BUILTIN, 10, damage, lost), options(draws), draws)
    assert found["FAIL"] >= at_least(power, draws)
    assert found["PASS"] <= at_most(0.02, draws)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [5, 20])
def test_the_smallest_failed_drop_fails_four_times_in_five(samples: int) -> None:
    """A drop spread over the problems, of the size that a report without it says."""
    told = World(HUMANEVAL, samples).judge(np.random.default_rng(1), GateOptions(enlarge=False))
    lost = told.compared["python"].smallest_failed_drop
    gate = GateOptions(enlarge=False)
    found = verdicts(World(HUMANEVAL, samples, "spread", {"python": lost}), gate, THOROUGH)
    assert 0.65 < found["FAIL"] / THOROUGH < 0.95
