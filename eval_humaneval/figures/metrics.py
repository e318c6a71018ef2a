"""Compute scores from samples: pass@k, rates and the measures of holes, each with an interval.

A score is the mean over problems: each problem in one language counts once, however many samples it has. An
unjudged sample (`infrastructure`) does not count. Its problem then has fewer samples, which the gate checks.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import TypeVar

import numpy as np

from acepilot.errors import ConfigError
from eval_humaneval.figures.resampling import Array, Resamples, expanded, resample
from eval_humaneval.results import Interval, LanguageScore, ProblemScore, Sample, by_problem, count_passed

PASS_AT = (1, 10, 100)
RESAMPLES = 10_000
SEED = 20_260_101
TAIL = 0.025
"""Probability on each side of a 95 % interval."""

Key = TypeVar("Key", int, str)
Values = list[tuple[str, float]]
"""The cluster and the value of each problem."""


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the unbiased chance that one of `k` completions passes (Chen et al. 2021), 1 - C(samples -
    passed, k) / C(samples, k), without overflow. Raise ConfigError for a `k` above `samples`."""
    if not 1 <= k <= samples:
        raise ConfigError(f"pass@{k} needs k from 1 to the number of samples, {samples}: use --samples {k}.")
    if samples - passed < k:
        return 1.0
    drawn = np.arange(samples - passed + 1, samples + 1)
    return float(1.0 - np.prod(1.0 - k / drawn))


def problem_scores(samples: Iterable[Sample]) -> list[ProblemScore]:
    """Return a row per problem and language, in the order of their first samples."""
    return [
        ProblemScore(
            id=group[0].problem,
            cluster=group[0].cluster,
            language=group[0].language,
            samples=len(_judged(group)),
            passed=count_passed(group),
        )
        for group in by_problem(samples).values()
    ]


def scores_by_language(samples: Sequence[Sample]) -> dict[str, LanguageScore]:
    languages = dict.fromkeys(sample.language for sample in samples)
    return {name: language_score([one for one in samples if one.language == name]) for name in languages}


def scores_by_hole(samples: Iterable[Sample]) -> dict[str, LanguageScore]:
    """Return scores by kind of hole and by Vue block; empty if no sample fills a hole."""
    parts: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.hole:
            parts[sample.hole.kind].append(sample)
            if sample.hole.block:
                parts[f"Vue {sample.hole.block}"].append(sample)
    return {part: language_score(parts[part]) for part in sorted(parts)}


def language_score(samples: Iterable[Sample], resamples: int = RESAMPLES) -> LanguageScore:
    """Return the score of one language, or of the pool, where a problem counts once in each language.
    `resamples` is the bootstrap's number: more make the intervals' ends more exact."""
    groups = [judged for group in by_problem(samples).values() if (judged := _judged(group))]
    every = [sample for group in groups for sample in group]
    fewest = min((len(group) for group in groups), default=0)
    passes = {
        k: [(group[0].cluster, pass_at_k(len(group), count_passed(group), k)) for group in groups]
        for k in PASS_AT
        if k <= fewest
    }
    return LanguageScore(
        problems=len(groups),
        samples=len(every),
        pass_at=_intervals(passes, resamples),
        timeout_rate=_rate([sample.outcome == "timeout" for sample in every]),
        compile_error_rate=_rate([sample.outcome == "compile_error" for sample in every]),
        truncated_rate=_rate([sample.truncated for sample in every]),
        holes=_hole_intervals(groups, resamples),
    )


def _hole_intervals(groups: list[list[Sample]], resamples: int) -> dict[str, Interval]:
    shares: dict[str, Values] = {"exact_match": [], "edit_similarity": [], "parses": []}
    nats: dict[str, Values] = {"log_likelihood": []}
    for group in groups:
        for name, means in (shares | nats).items():
            values: list[float | None] = [getattr(sample.hole, name) for sample in group if sample.hole]
            known = [float(value) for value in values if value is not None]
            if known:
                means.append((group[0].cluster, mean(known)))
    return _intervals(shares, resamples) | _intervals(nats, resamples, bounded=False)


def _intervals(table: Mapping[Key, Values], resamples: int, *, bounded: bool = True) -> dict[Key, Interval]:
    """Return mean and interval of each row with values; for shares from 0 to 1 (`bounded`), in points."""
    rows = {key: values for key, values in table.items() if values}
    if not rows:
        return {}
    clusters = sorted({cluster for values in rows.values() for cluster, _ in values})
    at = {cluster: row for row, cluster in enumerate(clusters)}
    sums, counts = np.zeros((2, len(clusters), len(rows)))
    for column, values in enumerate(rows.values()):
        for cluster, value in values:
            sums[at[cluster], column] += value
            counts[at[cluster], column] += 1
    rng = np.random.default_rng(SEED)
    drawn = resample(sums, counts, resamples, rng)
    unseen = rng.standard_exponential(resamples)
    found: dict[Key, Interval] = {}
    for column, key in enumerate(rows):
        value = sums[:, column].sum() / counts[:, column].sum()
        clusters_held = int(drawn.clusters[column])
        if bounded:
            weights = unseen * counts[:, column].sum() / clusters_held
            low = np.quantile(drawn.with_unseen(column, weights, 0.0), TAIL)
            high = np.quantile(drawn.with_unseen(column, weights, 1.0), 1 - TAIL)
            found[key] = Interval(value=100 * value, low=100 * low, high=100 * high)
        else:
            low, high = _bounds(drawn, column)
            found[key] = Interval(value=value, low=low, high=high)
    return found


def mean_interval(sums: Array, counts: Array) -> Interval:
    """Return the mean and interval of unbounded values; `sums` and `counts` are those of each cluster."""
    drawn = resample(sums[:, None], counts[:, None], RESAMPLES, np.random.default_rng(SEED))
    low, high = _bounds(drawn, 0)
    return Interval(value=sums.sum() / counts.sum(), low=low, high=high)


def _bounds(drawn: Resamples, group: int) -> tuple[float, float]:
    clusters = int(drawn.clusters[group])
    low, high = np.quantile(drawn.means(group), [expanded(TAIL, clusters), expanded(1 - TAIL, clusters)])
    return float(low), float(high)


def _judged(group: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in group if sample.outcome != "infrastructure"]


def _rate(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0
