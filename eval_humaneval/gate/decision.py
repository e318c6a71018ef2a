"""The gate's rule: two `Results` in, a `GateReport` out.

invalid_reasons -> gather_evidence -> choose_margins -> compare_all -> decide.
docs/gate-statistics.md explains what is computed, the reasons of the defaults, and how often the gate errs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import floor

import numpy as np

from acepilot.errors import ConfigError
from acepilot.models.gate_report import Comparison, GateReport, Verdict
from eval_humaneval.gate import reasons
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.gate.sample_size import samples_to_decide, size_to_fail, size_to_pass
from eval_humaneval.gate.statistics import POOL, POWER, Evidence, PairedCounts, gather_evidence, holm
from eval_humaneval.results import Results

NOT_JUDGED = 3
"""Exit code of every error, because 1 and 2 are verdicts."""
EXIT_CODES: dict[Verdict, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2, "INFRASTRUCTURE": NOT_JUDGED}

SMALLEST_MARGIN = 2.0
"""Points. A default margin is larger only if a run of this size cannot show this one."""

EQUAL_MODEL_POWER = 0.9
"""Probability that a candidate as good as its base keeps to the default margins at the first look: to those
of all languages together, and to the pool's. With a second look it is about 0.99."""

VISIBLE_ALPHA = 0.05


@dataclass(frozen=True)
class Analysis:
    """The result of one look at the data. `compared` is by language, the pool last."""

    verdict: Verdict
    compared: dict[str, Comparison]
    reasons: list[str]
    samples_to_decide: int | None


def judge_runs(
    base: Results,
    candidate: Results,
    options: GateOptions,
    *,
    created: datetime,
    git_commit: str | None,
    first: GateReport | None = None,
) -> GateReport:
    """Judge two runs. `first` is the report of the first look if these runs enlarge it; its margins stay.
    Raise ConfigError for a given margin that runs of this size cannot show."""
    invalid = list(reasons.invalid_reasons(base, candidate))
    if invalid:
        found = Analysis("INFRASTRUCTURE", {}, invalid, None)
    else:
        found = analyze(_paired_counts(base, candidate), options, _margins_of(first) if first else None)
    return GateReport(
        verdict=found.verdict,
        reasons=[*found.reasons, *reasons.unjudged_languages(candidate)],
        base=base.model,
        candidate=candidate.model,
        config_hash=candidate.config_hash,
        problem_sets=candidate.config.problem_sets,
        sandbox=candidate.sandbox,
        alpha=options.look_alpha(greedy=base.config.temperature == 0),
        drop_points=options.drop_points,
        enlarged=first is not None,
        samples_to_decide=found.samples_to_decide,
        seed=options.seed,
        created=created,
        git_commit=git_commit,
        pool=found.compared.get(POOL),
        languages={name: row for name, row in found.compared.items() if name != POOL},
    )


def analyze(counts: PairedCounts, options: GateOptions, margins: Mapping[str, float] | None) -> Analysis:
    """Take one look at the data. `margins` are those of the first look; None at the first."""
    alpha = options.look_alpha(greedy=counts.greedy)
    evidence = gather_evidence(counts, options.seed, options.resamples)
    if margins is None:
        margins = choose_margins(evidence, options, alpha, counts.samples)
    compared = compare_all(evidence, margins, options, alpha, counts.samples)
    verdict = decide(compared)
    undecided = {name: row for name, row in compared.items() if verdict == row.verdict == "INCONCLUSIVE"}
    to_pass = {name: size_to_pass(evidence[name], row, alpha) for name, row in undecided.items()}
    to_fail = {
        name: size_to_fail(evidence[name], row, first_holm_alpha(alpha, name, evidence), options.drop_points)
        for name, row in undecided.items()
    }
    sentences = reasons.verdict_reasons(verdict, compared, to_pass, to_fail, options.drop_points)
    defaults = {name: row.margin for name, row in compared.items() if options.given_margin(name) is None}
    sentences = [*sentences, *reasons.margin_reasons(defaults, SMALLEST_MARGIN)]
    return Analysis(verdict, compared, sentences, samples_to_decide(to_pass, to_fail))


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
            wrong.append(reasons.margin_too_small(name, given, found, alpha, samples))
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


def decide(compared: Mapping[str, Comparison]) -> Verdict:
    verdicts = {row.verdict for row in compared.values()}
    if "FAIL" in verdicts:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in verdicts else "PASS"


def _margins_of(first: GateReport) -> dict[str, float]:
    pool = {} if first.pool is None else {POOL: first.pool.margin}
    return {name: row.margin for name, row in first.languages.items()} | pool


def _paired_counts(base: Results, candidate: Results) -> PairedCounts:
    """Put the problems of both runs side by side; `invalid_reasons` has checked that they are the same."""
    other = {(row.language, row.id): row.passed for row in candidate.problems}
    rows = sorted(base.problems, key=lambda row: (row.language, row.id))
    languages = sorted({row.language for row in rows})
    clusters = {name: at for at, name in enumerate(sorted({row.cluster for row in rows}))}
    return PairedCounts(
        languages=tuple(languages),
        language=np.array([languages.index(row.language) for row in rows]),
        cluster=np.array([clusters[row.cluster] for row in rows]),
        base=np.array([row.passed for row in rows], dtype=np.float64),
        candidate=np.array([other[row.language, row.id] for row in rows], dtype=np.float64),
        samples=base.config.samples,
        greedy=base.config.temperature == 0,
    )
