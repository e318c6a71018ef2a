"""How far a mean over problems may be from the truth: the clustered bootstrap of `metrics` and of the gate.

The Bayesian bootstrap (Rubin 1981): each resample weighs every cluster, which is one problem in all its
languages, with a draw from Exp(1). Both sides of a comparison share the weights, which makes it paired. What
a problem's samples scatter is in its value already; to draw samples again as well would count that twice.

A bootstrap knows only what it saw: ten passes of ten would give an interval of no width. So a bound adds a
problem that was not seen, as bad (or good) as can be, with a weight of its own. With a whole one the bound
of a rate is Clopper and Pearson's, and for values between 0 and 1 it is Gaffke's (2005); with half of one it
is close to Jeffreys'.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

BLOCK = 2_000_000
"""Weights drawn at a time (16 MB): sets of thousands of problems need no more memory than small ones."""


@dataclass(frozen=True)
class Resamples:
    """Of G groups (languages, or measures). `totals` [resamples, G] are the weighted sums of the values,
    `weights` [resamples, G] of the number of problems; `clusters` [G] counts those that hold the group."""

    totals: Array
    weights: Array
    clusters: npt.NDArray[np.int64]

    def means(self, group: int) -> Array:
        return self.totals[:, group] / self.weights[:, group]

    def with_unseen(self, group: int, unseen: Array, value: float) -> Array:
        """The means when a problem of `value` had been there, with weights `unseen` [resamples]."""
        return (self.totals[:, group] + unseen * value) / (self.weights[:, group] + unseen)


def resample(sums: Array, counts: Array, resamples: int, rng: np.random.Generator) -> Resamples:
    """`sums` [clusters, G] are a cluster's summed values in a group, `counts` how many problems they are."""
    clusters, groups = sums.shape
    both = np.concatenate([sums, counts], axis=1)
    out = np.empty((resamples, 2 * groups))
    rows = max(1, BLOCK // clusters)
    for start in range(0, resamples, rows):
        block = out[start : start + rows]
        block[:] = rng.standard_exponential((len(block), clusters)) @ both
    return Resamples(out[:, :groups], out[:, groups:], np.count_nonzero(counts, axis=0))


def standard_error(sums: Array, counts: Array) -> float:
    """Of the mean over clusters of unequal size; `sums` and `counts` are [clusters]. Infinite for one."""
    held = counts > 0
    clusters = int(held.sum())
    if clusters < 2:
        return float("inf")
    residuals = (sums - sums.sum() / counts.sum() * counts)[held]
    return float(np.sqrt((residuals**2).sum() * clusters / (clusters - 1)) / counts.sum())


def as_t(normal_score: float, clusters: int) -> float:
    """The probability that belongs to a bootstrap's `normal_score` by Student's t.

    A bootstrap of few clusters is too narrow twice: it divides by n, and it takes the spread that it saw for
    the true one ("expanded percentiles", Hesterberg 2015, doi 10.1080/00031305.2015.1089789).
    """
    if clusters < 2:
        return 1.0
    narrow = np.sqrt((clusters - 1) / (clusters + 1))
    return float(special.stdtr(clusters - 1, normal_score * narrow))


def expanded(probability: float, clusters: int) -> float:
    """Where to read a bootstrap for a bound of `probability`: the inverse of `as_t`."""
    if clusters < 2:
        return 0.0 if probability < 0.5 else 1.0
    wide = np.sqrt((clusters + 1) / (clusters - 1))
    return float(special.ndtr(special.stdtrit(clusters - 1, probability) * wide))
