"""What two runs of the same problems show: the paired bootstrap behind `gate`. docs/gate.md has the formulas.

Everything here is in shares, 0 to 1, candidate minus base: a drop is negative.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from eval_humaneval.figures.resampling import Array, as_t, expanded, resample, standard_error

POOL = "all languages together"
POWER = 0.8


@dataclass(frozen=True)
class Cells:
    """Both runs: a row for every problem in every language. `language` and `cluster` are numbers from 0;
    `base` and `candidate` count what passed of `samples`. `greedy`: at temperature 0 nothing is drawn."""

    languages: tuple[str, ...]
    language: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.int64]
    base: Array
    candidate: Array
    samples: int
    greedy: bool


@dataclass(frozen=True)
class Evidence:
    """On one language, or the pool. `error` is the standard error of `difference`; `noise` is the part of it
    that comes from drawing so few samples, and `base_noise` what that would be between two runs of the base.
    `means`, `guarded` and `unseen` are of the resamples: the difference, the same with half a problem more
    that was lost entirely, and the share of that half."""

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
        """One-sided, of the mean having dropped by more than `drop`.

        Where nothing changed for better or worse but `changed` problems, chance moves them all down once in
        2^changed times: no p-value is below that. It is McNemar's, and holds for the smallest sets.
        """
        share = np.clip(np.mean(self.means >= -drop), 0.5 / len(self.means), 1 - 0.5 / len(self.means))
        return max(as_t(float(special.ndtri(share)), self.clusters), 0.5**self.changed)

    def showable(self, alpha: float, power: float, samples: float = 1, problems: float = 1) -> float:
        """The margin above which a candidate that is as good as the base stays with probability `power`;
        for `samples` and `problems` times as many."""
        noise = self.base_noise / np.sqrt(samples * problems)
        return self._width(alpha, noise, problems) + float(special.ndtri(power)) * noise

    def passes_with(self, margin: float, alpha: float, samples: float, problems: float) -> bool:
        """Whether so many times as many samples and problems would show `margin`, with POWER.

        Of the difference stays what is not luck: the problems' own part of its variance.
        """
        noise, error = self._grown(samples, problems)
        own = 1 - min(1.0, (self.noise / self.error) ** 2) if self.error > 0 else 1.0
        expected = self.difference * (own + (1 - own) / samples)
        room = float(special.ndtri(POWER)) * noise
        return expected + margin > self._width(alpha, error, problems) + room

    def fails_with(self, drop: float, alpha: float, samples: float, problems: float) -> bool:
        """Whether that would prove a drop beyond `drop`, with POWER, if the difference stays what it is."""
        _, error = self._grown(samples, problems)
        return -self.difference - drop > self.detectable(alpha, error)

    def detectable(self, alpha: float, error: float) -> float:
        """The drop that a test at `alpha` finds with POWER, given a standard error."""
        if self.clusters < 2:
            return 1.0
        return float(special.stdtrit(self.clusters - 1, 1 - alpha) + special.ndtri(POWER)) * error

    @property
    def unmet(self) -> float:
        """Damage that breaks whole problems, fewer than this share, meets none of these with 1 - POWER."""
        return 1 - (1 - POWER) ** (1 / self.problems)

    def _width(self, alpha: float, error: float, problems: float) -> float:
        return float(np.quantile(self.unseen / problems + error * self.normal, 1 - alpha))

    def _grown(self, samples: float, problems: float) -> tuple[float, float]:
        """Noise and error of a larger run; what the problems differ by themselves stays."""
        noise = self.noise**2 / samples
        own = max(0.0, self.error**2 - self.noise**2)
        return float(np.sqrt(noise / problems)), float(np.sqrt((own + noise) / problems))


def gather(cells: Cells, seed: int, resamples: int) -> dict[str, Evidence]:
    """By language, and last the pool, whose mean is over all problems in all languages."""
    names = (*cells.languages, POOL)
    clusters = int(cells.cluster.max()) + 1
    sums, counts = np.zeros((2, clusters, len(names)))
    differences = (cells.candidate - cells.base) / cells.samples
    for column in (cells.language, np.full_like(cells.language, len(cells.languages))):
        np.add.at(sums, (cells.cluster, column), differences)
        np.add.at(counts, (cells.cluster, column), 1)
    rng = np.random.default_rng(seed)
    drawn = resample(sums, counts, resamples, rng)
    unseen = rng.gamma(0.5, size=resamples)
    normal = rng.standard_normal(resamples)
    found: dict[str, Evidence] = {}
    for at, name in enumerate(names):
        rows = np.full(len(cells.language), True) if name == POOL else cells.language == at
        base, candidate = _variance(cells, cells.base, rows), _variance(cells, cells.candidate, rows)
        problems = int(rows.sum())
        found[name] = Evidence(
            problems=problems,
            clusters=int(drawn.clusters[at]),
            changed=int(np.count_nonzero(sums[:, at])),
            base=float(cells.base[rows].mean() / cells.samples),
            candidate=float(cells.candidate[rows].mean() / cells.samples),
            error=standard_error(sums[:, at], counts[:, at]),
            noise=float(np.sqrt((base + candidate) / problems)),
            base_noise=float(np.sqrt(2 * base / problems)),
            means=drawn.means(at),
            guarded=drawn.with_unseen(at, unseen, -1.0),
            unseen=unseen / (drawn.weights[:, at] + unseen),
            normal=normal,
        )
    return found


def _variance(cells: Cells, passed: Array, rows: npt.NDArray[np.bool_]) -> float:
    """Of a problem's measured rate about its true one, averaged over `rows`; unbiased.

    One sample drawn at random tells nothing of it: then it is taken for as large as the mean rate allows.
    """
    if cells.greedy:
        return 0.0
    rates = passed[rows] / cells.samples
    if cells.samples == 1:
        return float(rates.mean() * (1 - rates.mean()))
    return float((rates * (1 - rates)).mean() / (cells.samples - 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (1979): step down from the smallest, never falling."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted
