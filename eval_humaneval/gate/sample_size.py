"""How large a run must be: for a margin to be shown, or for an undecided comparison to be decided."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from acepilot.models.gate_report import Comparison
from eval_humaneval.gate.statistics import POWER, Evidence

SECOND_LOOK = 2
"""Times the samples, at least: a second look at fewer would be one at nearly the same data."""

MOST_SAMPLES = 200
MOST_GROWTH = 100
"""So many samples, and so many times the problems, are the most that is advised: nobody would run more."""


@dataclass(frozen=True)
class Size:
    """Either would do; None where no sensible number does."""

    samples: int | None
    problems: int | None


def size_to_show(evidence: Evidence, margin: float, alpha: float, samples: int) -> Size:
    """For a `margin` in points, were the candidate as good as the base."""

    def enough(more: float, problems: float) -> bool:
        return 100 * evidence.showable(alpha, POWER, more, problems) < margin

    return _size(evidence, samples, 1, enough)


def size_to_pass(evidence: Evidence, comparison: Comparison, alpha: float) -> Size:
    """If the candidate is as good as it seems, or better where it had bad luck."""

    def enough(more: float, problems: float) -> bool:
        return evidence.passes_with(comparison.margin / 100, alpha, more, problems)

    return _size(evidence, comparison.samples, SECOND_LOOK, enough)


def size_to_fail(evidence: Evidence, comparison: Comparison, alpha: float, drop_points: float) -> Size:
    """If it is as bad as it seems; `alpha` is that of the first step of Holm."""

    def enough(more: float, problems: float) -> bool:
        return evidence.fails_with(drop_points / 100, alpha, more, problems)

    return _size(evidence, comparison.samples, SECOND_LOOK, enough)


def samples_to_decide(to_pass: Mapping[str, Size], to_fail: Mapping[str, Size]) -> int | None:
    """Per problem. PASS needs every comparison that is still open, FAIL needs one of them."""
    passing = [size.samples for size in to_pass.values() if size.samples is not None]
    ways = [size.samples for size in to_fail.values() if size.samples is not None]
    if passing and len(passing) == len(to_pass):
        ways.append(max(passing))
    return min(ways, default=None)


def _size(
    evidence: Evidence, samples: int, least_more: float, enough: Callable[[float, float], bool]
) -> Size:
    more = _growth(lambda factor: enough(factor, 1), least_more, MOST_SAMPLES / samples)
    problems = _growth(lambda factor: enough(1, factor), 1, MOST_GROWTH)
    return Size(
        samples=None if more is None else ceil(more * samples),
        problems=None if problems is None else ceil(problems * evidence.problems),
    )


def _growth(enough: Callable[[float], bool], least: float, most: float) -> float | None:
    """The smallest factor from `least` to `most` that is `enough` (and so is every larger one), or None."""
    if most < least or not enough(most):
        return None
    if enough(least):
        return least
    low, high = least, most
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
