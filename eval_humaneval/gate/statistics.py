"""The gate's statistics: a paired bootstrap over two runs. docs/gate-statistics.md has the formulas.

All figures are shares from 0 to 1, candidate minus base: a drop is negative.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from scipy import special

from eval_humaneval.figures.resampling import Array, as_t, expanded, resample, standard_error

POOL = "all languages together"
POWER = 0.8
"""Probability of finding a drop, or showing a margin, for which sizes and drops are computed."""


@dataclass(frozen=True)
class PairedCounts:
    """Both runs, with a row for every problem in every language. `language` and `cluster` are numbers from 0.
    `base` and `candidate` count the samples that passed, of `samples`. `greedy`: without sampling noise."""

    languages: tuple[str, ...]
    language: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.int64]
    base: Array
    candidate: Array
    samples: int
    greedy: bool


@dataclass(frozen=True)
class Evidence:
    """The evidence on one language, or on the pool. `error` is the standard error of `difference`. `noise` is
    the part of it that comes from sampling, and `base_noise` is what that part would be between two runs of
    the base. `changed` counts the clusters whose difference is not 0. The arrays hold one value per resample:
    `means` the difference; `guarded` the same with half a problem more that is lost entirely; `unseen` the
    weight of that half; `normal` a standard normal number."""

    problems: int
    clusters: int
    changed: int
    base: float
    candidate: float
    error: float
    noise: float
    base_noise: float
    means: Array
    guarded: Array
    unseen: Array
    normal: Array

    @property
    def difference(self) -> float:
        return self.candidate - self.base

    def lower(self, alpha: float) -> float:
        return float(np.quantile(self.guarded, alpha))

    def upper(self, alpha: float) -> float:
        if self.clusters < 2:
            return 1.0
        return float(np.quantile(self.means, expanded(1 - alpha, self.clusters)))

    def p_value(self, drop: float) -> float:
        """Return the one-sided p-value of a drop by more than `drop`. It is at least 2^-changed, by McNemar's
        exact test: the chance that all changed problems get worse by coincidence."""
        share = np.clip(np.mean(self.means >= -drop), 0.5 / len(self.means), 1 - 0.5 / len(self.means))
        return max(as_t(float(special.ndtri(share)), self.clusters), 0.5**self.changed)

    def showable(self, alpha: float, power: float, samples: float = 1, problems: float = 1) -> float:
        """Return the margin that a candidate as good as the base keeps to with probability `power`. `samples`
        and `problems` are factors: for that many times as many as in this run."""
        noise = self.base_noise / np.sqrt(samples * problems)
        return self._width(alpha, noise, problems) + float(special.ndtri(power)) * noise

    def passes_with(self, margin: float, alpha: float, samples: float, problems: float) -> bool:
        """Return True if a run `samples` and `problems` times as large would show `margin`, with POWER. The
        part of the difference that is sampling noise is assumed to shrink, by its share of the variance."""
        noise, error = self._scaled(samples, problems)
        real = 1 - min(1.0, (self.noise / self.error) ** 2) if self.error > 0 else 1.0
        expected = self.difference * (real + (1 - real) / samples)
        slack = float(special.ndtri(POWER)) * noise
        return expected + margin > self._width(alpha, error, problems) + slack

    def fails_with(self, drop: float, alpha: float, samples: float, problems: float) -> bool:
        """Return True if that run would prove a drop beyond `drop`, with POWER, for the same difference."""
        _, error = self._scaled(samples, problems)
        return -self.difference - drop > self.detectable(alpha, error)

    def detectable(self, alpha: float, error: float) -> float:
        """Return the drop that a test at `alpha` finds with POWER, given the standard error."""
        if self.clusters < 2:
            return 1.0
        return float(special.stdtrit(self.clusters - 1, 1 - alpha) + special.ndtri(POWER)) * error

    @property
    def smallest_sampled_share(self) -> float:
        """Return the share of broken problems at which the run contains one with probability POWER."""
        return 1 - (1 - POWER) ** (1 / self.problems)

    def _width(self, alpha: float, error: float, problems: float) -> float:
        return float(np.quantile(self.unseen / problems + error * self.normal, 1 - alpha))

    def _scaled(self, samples: float, problems: float) -> tuple[float, float]:
        """Return noise and error of a larger run; samples do not change the variance between problems."""
        noise = self.noise**2 / samples
        between = max(0.0, self.error**2 - self.noise**2)
        return float(np.sqrt(noise / problems)), float(np.sqrt((between + noise) / problems))


def gather_evidence(counts: PairedCounts, seed: int, resamples: int) -> dict[str, Evidence]:
    """Return the evidence by language; POOL comes last, with its mean over all problems in all languages."""
    names = (*counts.languages, POOL)
    clusters = int(counts.cluster.max()) + 1
    sums, sizes = np.zeros((2, clusters, len(names)))
    differences = (counts.candidate - counts.base) / counts.samples
    for column in (counts.language, np.full_like(counts.language, len(counts.languages))):
        np.add.at(sums, (counts.cluster, column), differences)
        np.add.at(sizes, (counts.cluster, column), 1)
    rng = np.random.default_rng(seed)
    drawn = resample(sums, sizes, resamples, rng)
    unseen = rng.gamma(0.5, size=resamples)
    normal = rng.standard_normal(resamples)
    found: dict[str, Evidence] = {}
    for at, name in enumerate(names):
        rows = np.full(len(counts.language), True) if name == POOL else counts.language == at
        base, candidate = _variance(counts, counts.base, rows), _variance(counts, counts.candidate, rows)
        problems = int(rows.sum())
        found[name] = Evidence(
            problems=problems,
            clusters=int(drawn.clusters[at]),
            changed=int(np.count_nonzero(sums[:, at])),
            base=float(counts.base[rows].mean() / counts.samples),
            candidate=float(counts.candidate[rows].mean() / counts.samples),
            error=standard_error(sums[:, at], sizes[:, at]),
            noise=float(np.sqrt((base + candidate) / problems)),
            base_noise=float(np.sqrt(2 * base / problems)),
            means=drawn.means(at),
            guarded=drawn.with_unseen(at, unseen, -1.0),
            unseen=unseen / (drawn.weights[:, at] + unseen),
            normal=normal,
        )
    return found


def _variance(counts: PairedCounts, passed: Array, rows: npt.NDArray[np.bool_]) -> float:
    """Return the unbiased variance of a problem's measured rate around its true one, averaged over `rows`. It
    cannot be estimated from one random sample each; then it is the largest that the mean rate allows."""
    if counts.greedy:
        return 0.0
    rates = passed[rows] / counts.samples
    if counts.samples == 1:
        return float(rates.mean() * (1 - rates.mean()))
    return float((rates * (1 - rates)).mean() / (counts.samples - 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted by Holm's step-down method (1979)."""
    ranked = sorted(p_values, key=lambda name: p_values[name])
    steps = (min(1.0, (len(ranked) - rank) * p_values[name]) for rank, name in enumerate(ranked))
    return dict(zip(ranked, accumulate(steps, max), strict=True))
