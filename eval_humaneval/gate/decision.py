"""The gate's rule: two `Results` in, a `GateReport` out.

invalid_reasons -> gather_evidence -> choose_margins -> compare_all -> decide.
docs/gate-statistics.md explains what is computed, the reasons of the defaults, and how often the gate errs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from acepilot.models.gate_report import Comparison, GateReport, Verdict
from eval_humaneval.gate.comparisons import SMALLEST_MARGIN, choose_margins, compare_all, first_holm_alpha
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.gate.reasons import invalid_reasons, margin_reasons, unjudged_languages, verdict_reasons
from eval_humaneval.gate.sample_size import samples_to_decide, size_to_fail, size_to_pass
from eval_humaneval.gate.statistics import POOL, PairedCounts, gather_evidence
from eval_humaneval.results import Results

NOT_JUDGED = 3
"""Exit code of every error, because 1 and 2 are verdicts."""
EXIT_CODES: dict[Verdict, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2, "INFRASTRUCTURE": NOT_JUDGED}


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
    invalid = invalid_reasons(base, candidate)
    if invalid:
        found = Analysis("INFRASTRUCTURE", {}, invalid, None)
    else:
        found = analyze(_paired_counts(base, candidate), options, _margins_of(first) if first else None)
    return GateReport(
        verdict=found.verdict,
        reasons=found.reasons + unjudged_languages(candidate),
        base=base.model,
        candidate=candidate.model,
        config_hash=candidate.config_hash,
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
    reasons = verdict_reasons(verdict, compared, to_pass, to_fail, options.drop_points)
    defaults = {name: row.margin for name, row in compared.items() if options.given_margin(name) is None}
    reasons += margin_reasons(defaults, SMALLEST_MARGIN)
    return Analysis(verdict, compared, reasons, samples_to_decide(to_pass, to_fail))


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
