"""Compute how large a run must be to show a margin, or to decide an open comparison."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil

from acepilot.models.gate_report import Comparison
from eval_humaneval.gate.statistics import POWER, Evidence

SECOND_LOOK = 2
"""Smallest factor of samples for a second look: with fewer, it would see nearly the same data again."""

MAX_SAMPLES = 200
"""Samples per problem that are advised at most: nobody would run more."""
MAX_PROBLEM_FACTOR = 100
"""Factor of problems that is advised at most, for the same reason."""


@dataclass(frozen=True)
class Size:
    """Samples per problem, or problems; either would do. None: no number up to the maximum does."""

    samples: int | None
    problems: int | None


def size_to_show(evidence: Evidence, margin: float, alpha: float, samples: int) -> Size:
    """Return the size that shows `margin` (in points) for a candidate as good as the base."""

    def enough(more: float, problems: float) -> bool:
        return 100 * evidence.showable(alpha, POWER, more, problems) < margin

    return _size(evidence, samples, 1, enough)


def size_to_pass(evidence: Evidence, comparison: Comparison, alpha: float) -> Size:
    """Return the size for PASS, if the difference is real apart from sampling noise."""
    enough = partial(evidence.passes_with, comparison.margin / 100, alpha)
    return _size(evidence, comparison.samples, SECOND_LOOK, enough)


def size_to_fail(evidence: Evidence, comparison: Comparison, alpha: float, drop_points: float) -> Size:
    """Return the size for FAIL, if the difference is real; `alpha` is that of Holm's first step."""
    enough = partial(evidence.fails_with, drop_points / 100, alpha)
    return _size(evidence, comparison.samples, SECOND_LOOK, enough)


def samples_to_decide(to_pass: Mapping[str, Size], to_fail: Mapping[str, Size]) -> int | None:
    """Return samples per problem. PASS needs every open comparison decided, FAIL needs one of them."""
    passing = [size.samples for size in to_pass.values() if size.samples is not None]
    ways = [size.samples for size in to_fail.values() if size.samples is not None]
    if passing and len(passing) == len(to_pass):
        ways.append(max(passing))
    return min(ways, default=None)


def _size(
    evidence: Evidence, samples: int, smallest_factor: float, enough: Callable[[float, float], bool]
) -> Size:
    more = _smallest_factor(lambda factor: enough(factor, 1), smallest_factor, MAX_SAMPLES / samples)
    problems = _smallest_factor(lambda factor: enough(1, factor), 1, MAX_PROBLEM_FACTOR)
    return Size(
        samples=None if more is None else ceil(more * samples),
        problems=None if problems is None else ceil(problems * evidence.problems),
    )


def _smallest_factor(enough: Callable[[float], bool], least: float, most: float) -> float | None:
    """Return the smallest factor from `least` to `most` that is `enough`, by bisection; None if none is."""
    if most < least or not enough(most):
        return None
    if enough(least):
        return least
    low, high = least, most
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
