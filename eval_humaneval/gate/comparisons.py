"""Margins, and the comparison of base and candidate in each language and in the pool."""

from collections.abc import Mapping
from math import floor

from acepilot.errors import ConfigError
from acepilot.models.gate_report import Comparison
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.gate.reasons import margin_too_small
from eval_humaneval.gate.statistics import POOL, POWER, Evidence, holm

SMALLEST_MARGIN = 2.0
"""Points. A default margin is larger only if a run of this size cannot show this one."""

EQUAL_MODEL_POWER = 0.9
"""Probability that a candidate as good as its base keeps to the default margins at the first look: to those
of all languages together, and to the pool's. With a second look it is about 0.99."""

VISIBLE_ALPHA = 0.05


def choose_margins(
    evidence: Mapping[str, Evidence], options: GateOptions, alpha: float, samples: int
) -> dict[str, float]:
    """Return margins in points: the given ones, otherwise the smallest that a run of this size can show. They
    do not depend on the candidate: damage to few problems would otherwise widen its own margin."""
    unknown = sorted(set(options.language_margins) - set(evidence))
    wrong = [f"There is a margin for {name}, but the runs have no such language." for name in unknown]
    margins: dict[str, float] = {}
    for name, found in evidence.items():
        given = options.given_margin(name)
        power = EQUAL_MODEL_POWER if name == POOL else EQUAL_MODEL_POWER ** (1 / (len(evidence) - 1))
        # Rounded up to the next tenth, because PASS needs a bound above the margin.
        smallest = floor(1000 * found.showable(alpha, power) + 1) / 10
        margins[name] = max(SMALLEST_MARGIN, smallest) if given is None else given
        if given is not None and 100 * found.showable(alpha, POWER) >= given:
            wrong.append(margin_too_small(name, given, found, alpha, samples))
    if wrong:
        raise ConfigError(" ".join(wrong))
    return margins


def compare_all(
    evidence: Mapping[str, Evidence],
    margins: Mapping[str, float],
    options: GateOptions,
    alpha: float,
    samples: int,
) -> dict[str, Comparison]:
    """Compare each language and, last, the pool."""
    p_values = {name: found.p_value(options.drop_points / 100) for name, found in evidence.items()}
    adjusted = holm({name: p for name, p in p_values.items() if name != POOL}) | {POOL: p_values[POOL]}
    compared: dict[str, Comparison] = {}
    for name, found in evidence.items():
        lower = 100 * found.lower(alpha)
        failed = adjusted[name] <= alpha
        pass_or_open = "PASS" if lower > -margins[name] else "INCONCLUSIVE"
        error = max(found.error, found.noise)
        smallest = 100 * found.smallest_sampled_share
        fail_alpha = first_holm_alpha(alpha, name, evidence)
        compared[name] = Comparison(
            problems=found.problems,
            samples=samples,
            base=100 * found.base,
            candidate=100 * found.candidate,
            difference=100 * found.difference,
            lower=lower,
            upper=100 * found.upper(alpha),
            p_value=p_values[name],
            p_adjusted=adjusted[name],
            margin=margins[name],
            smallest_visible_drop=max(smallest, 100 * found.detectable(VISIBLE_ALPHA, error)),
            smallest_failed_drop=max(
                smallest, options.drop_points + 100 * found.detectable(fail_alpha, error)
            ),
            verdict="FAIL" if failed else pass_or_open,
        )
    return compared


def first_holm_alpha(alpha: float, name: str, evidence: Mapping[str, Evidence]) -> float:
    """Return Holm's first step: the alpha for a language if no other one dropped. The pool has all of it."""
    return alpha if name == POOL else alpha / (len(evidence) - 1)
