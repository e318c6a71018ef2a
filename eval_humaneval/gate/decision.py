"""The gate: may a candidate replace its base? Two `Results` in, a `GateReport` out; `compare` runs it.

read_results (twice) -> gate_words.invalid_because -> gate_statistics.gather -> `comparisons` -> `decide`.
docs/gate.md says what is computed, why the defaults are what they are, and how often the gate errs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import floor

import numpy as np

from acepilot.errors import ConfigError
from acepilot.models.gate_report import Comparison, GateReport, Verdict
from eval_humaneval.gate.reasons import invalid_because, margins_because, not_judged, reasons, too_small
from eval_humaneval.gate.sample_size import samples_to_decide, size_to_fail, size_to_pass
from eval_humaneval.gate.statistics import POOL, POWER, Cells, Evidence, gather, holm
from eval_humaneval.results import Results

NOT_JUDGED = 3
"""Exit code of every error where 1 and 2 are verdicts."""
EXIT_CODES: dict[Verdict, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2, "INFRASTRUCTURE": NOT_JUDGED}

LEAST_MARGIN = 2.0
"""Points. A default margin is larger only where so few problems and samples cannot show this."""

ROOM = 0.9
"""How often a candidate that is as good as its base keeps to default margins at the first look: to those of
all languages at once, and to the pool's. A second look makes that about 0.99."""

VISIBLE_ALPHA = 0.05


@dataclass(frozen=True)
class GateOptions:
    """Margins and `drop_points` are points of 100; a margin that is not given follows from the size of the
    set. `language_margin` is for every language, `language_margins` for single ones. `alpha` is the chance
    of a wrong FAIL, and of a wrong PASS, over both looks where a second may follow (`enlarge`)."""

    pool_margin: float | None = None
    language_margin: float | None = None
    language_margins: Mapping[str, float] = field(default_factory=dict[str, float])
    drop_points: float = 1.0
    alpha: float = 0.05
    enlarge: bool = True
    seed: int = 0
    resamples: int = 10_000

    def __post_init__(self) -> None:
        given = {POOL: self.pool_margin, "every language": self.language_margin, **self.language_margins}
        wrong = [
            f"The margin of {name} is {margin:g}: it is in points, above 0 and up to 100."
            for name, margin in given.items()
            if margin is not None and not 0 < margin <= 100
        ]
        if not 0 <= self.drop_points < 100:
            wrong.append(f"The drop that fails is {self.drop_points:g}: it is in points, from 0.")
        if not 0 < self.alpha < 0.5:
            wrong.append(f"alpha is {self.alpha:g}: it is a probability, usually 0.05.")
        if wrong:
            raise ConfigError(" ".join(wrong))


def judge_runs(
    base: Results,
    candidate: Results,
    options: GateOptions,
    *,
    created: datetime,
    git_commit: str | None,
    first: GateReport | None = None,
) -> GateReport:
    """`first` is the report of the first look when these runs are its enlargement: its margins stay.

    Raises ConfigError for a margin that runs of this size cannot show.
    """
    invalid = invalid_because(base, candidate)
    if invalid:
        seen = Look("INFRASTRUCTURE", {}, invalid, None)
    else:
        seen = look(_cells(base, candidate), options, _kept(first) if first else None)
    return GateReport(
        verdict=seen.verdict,
        reasons=seen.reasons + not_judged(candidate),
        base=base.model,
        candidate=candidate.model,
        config_hash=candidate.config_hash,
        sandbox=candidate.sandbox,
        alpha=look_alpha(options, greedy=base.config.temperature == 0),
        drop_points=options.drop_points,
        enlarged=first is not None,
        samples_to_decide=seen.samples_to_decide,
        seed=options.seed,
        created=created,
        git_commit=git_commit,
        pool=seen.compared.get(POOL),
        languages={name: it for name, it in seen.compared.items() if name != POOL},
    )


@dataclass(frozen=True)
class Look:
    """What the runs show; `compared` is by language, and last the pool."""

    verdict: Verdict
    compared: dict[str, Comparison]
    reasons: list[str]
    samples_to_decide: int | None


def look_alpha(options: GateOptions, *, greedy: bool) -> float:
    """Half for each look where a second may follow; greedy runs gain nothing by more samples."""
    return options.alpha / 2 if options.enlarge and not greedy else options.alpha


def look(cells: Cells, options: GateOptions, margins: Mapping[str, float] | None) -> Look:
    """`margins` are those of the first look; None at the first."""
    alpha = look_alpha(options, greedy=cells.greedy)
    evidence = gather(cells, options.seed, options.resamples)
    if margins is None:
        margins = choose_margins(evidence, options, alpha, cells.samples)
    compared = comparisons(evidence, margins, options, alpha, cells.samples)
    verdict = decide(compared)
    undecided = {name: it for name, it in compared.items() if verdict == it.verdict == "INCONCLUSIVE"}
    to_pass = {name: size_to_pass(evidence[name], it, alpha) for name, it in undecided.items()}
    to_fail = {
        name: size_to_fail(evidence[name], it, _strictest(alpha, name, evidence), options.drop_points)
        for name, it in undecided.items()
    }
    because = reasons(verdict, compared, to_pass, to_fail, options.drop_points)
    chosen = {name: it.margin for name, it in compared.items() if _given(options, name) is None}
    because += margins_because(chosen, LEAST_MARGIN)
    return Look(verdict, compared, because, samples_to_decide(to_pass, to_fail))


def choose_margins(
    evidence: Mapping[str, Evidence], options: GateOptions, alpha: float, samples: int
) -> dict[str, float]:
    """In points: what was given, else the least that a run of this size shows.

    The candidate has no part in it: damage that strikes few problems would widen its own margin.
    """
    unknown = sorted(set(options.language_margins) - set(evidence))
    wrong = [f"There is a margin for {name}, which these runs do not have." for name in unknown]
    margins: dict[str, float] = {}
    for name, it in evidence.items():
        given = _given(options, name)
        power = ROOM if name == POOL else ROOM ** (1 / (len(evidence) - 1))
        # The next tenth above, because PASS needs more than the margin itself.
        least = floor(1000 * it.showable(alpha, power) + 1) / 10
        margins[name] = max(LEAST_MARGIN, least) if given is None else given
        if given is not None and 100 * it.showable(alpha, POWER) >= given:
            wrong.append(too_small(name, given, it, alpha, samples))
    if wrong:
        raise ConfigError(" ".join(wrong))
    return margins


def comparisons(
    evidence: Mapping[str, Evidence],
    margins: Mapping[str, float],
    options: GateOptions,
    alpha: float,
    samples: int,
) -> dict[str, Comparison]:
    """By language, and last the pool."""
    p_values = {name: it.p_value(options.drop_points / 100) for name, it in evidence.items()}
    adjusted = holm({name: p for name, p in p_values.items() if name != POOL}) | {POOL: p_values[POOL]}
    found: dict[str, Comparison] = {}
    for name, it in evidence.items():
        lower = 100 * it.lower(alpha)
        failed = adjusted[name] <= alpha
        open_or_passed = "PASS" if lower > -margins[name] else "INCONCLUSIVE"
        error = max(it.error, it.noise)
        least = 100 * it.unmet
        found[name] = Comparison(
            problems=it.problems,
            samples=samples,
            base=100 * it.base,
            candidate=100 * it.candidate,
            difference=100 * it.difference,
            lower=lower,
            upper=100 * it.upper(alpha),
            p_value=p_values[name],
            p_adjusted=adjusted[name],
            margin=margins[name],
            smallest_visible_drop=max(least, 100 * it.detectable(VISIBLE_ALPHA, error)),
            smallest_failed_drop=max(
                least, options.drop_points + 100 * it.detectable(_strictest(alpha, name, evidence), error)
            ),
            verdict="FAIL" if failed else open_or_passed,
        )
    return found


def decide(compared: Mapping[str, Comparison]) -> Verdict:
    verdicts = {it.verdict for it in compared.values()}
    if "FAIL" in verdicts:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in verdicts else "PASS"


def _given(options: GateOptions, name: str) -> float | None:
    return (
        options.pool_margin if name == POOL else options.language_margins.get(name, options.language_margin)
    )


def _strictest(alpha: float, name: str, evidence: Mapping[str, Evidence]) -> float:
    """What one language must reach when no other dropped: the first step of Holm."""
    return alpha if name == POOL else alpha / (len(evidence) - 1)


def _kept(first: GateReport) -> dict[str, float]:
    pool = {} if first.pool is None else {POOL: first.pool.margin}
    return {name: it.margin for name, it in first.languages.items()} | pool


def _cells(base: Results, candidate: Results) -> Cells:
    """The problems of both runs side by side; `invalid_because` has found the same ones in both."""
    other = {(row.language, row.id): row.passed for row in candidate.problems}
    rows = sorted(base.problems, key=lambda row: (row.language, row.id))
    languages = sorted({row.language for row in rows})
    clusters = {name: at for at, name in enumerate(sorted({row.cluster for row in rows}))}
    return Cells(
        languages=tuple(languages),
        language=np.array([languages.index(row.language) for row in rows]),
        cluster=np.array([clusters[row.cluster] for row in rows]),
        base=np.array([row.passed for row in rows], dtype=np.float64),
        candidate=np.array([other[row.language, row.id] for row in rows], dtype=np.float64),
        samples=base.config.samples,
        greedy=base.config.temperature == 0,
    )
