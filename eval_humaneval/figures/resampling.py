"""The clustered bootstrap behind the intervals of `metrics` and the statistics of the gate.

It is the Bayesian bootstrap (Rubin 1981): each resample gives every cluster, one problem in all its
languages, a random weight from Exp(1). Both sides of a comparison share the weights, so it is paired. A
problem's value already contains the noise of its samples; resampling them as well would count it twice.

A bootstrap knows only the problems of the sample: ten passes of ten would give an interval of width 0. So a
bound adds an unseen problem with the worst (or best) value and a random weight. With a whole one, the bound
of a rate is Clopper and Pearson's, and for values between 0 and 1 Gaffke's (2005); with half of one it is
close to Jeffreys'.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

BLOCK = 2_000_000
"""Weights drawn at a time (16 MB), so that large problem sets need no more memory than small ones."""


@dataclass(frozen=True)
class Resamples:
    """The resamples of G groups, which are languages or measures: weighted sums of values [resamples, G],
    weighted numbers of problems [resamples, G], and the clusters with a problem of the group [G]."""

    totals: Array
    weights: Array
    clusters: npt.NDArray[np.int64]

    def means(self, group: int) -> Array:
        return self.totals[:, group] / self.weights[:, group]

    def with_unseen(self, group: int, unseen: Array, value: float) -> Array:
        """Return the means with one more problem of `value`, which has the weights `unseen` [resamples]."""
        return (self.totals[:, group] + unseen * value) / (self.weights[:, group] + unseen)


def resample(sums: Array, counts: Array, resamples: int, rng: np.random.Generator) -> Resamples:
    """Resample clusters; `sums` and `counts` [clusters, G] are of a cluster's values in a group."""
    clusters, groups = sums.shape
    both = np.concatenate([sums, counts], axis=1)
    out = np.empty((resamples, 2 * groups))
    rows = max(1, BLOCK // clusters)
    for start in range(0, resamples, rows):
        block = out[start : start + rows]
        block[:] = rng.standard_exponential((len(block), clusters)) @ both
    return Resamples(out[:, :groups], out[:, groups:], np.count_nonzero(counts, axis=0))


def standard_error(sums: Array, counts: Array) -> float:
    """Return the standard error of a mean over clusters of unequal size; infinite for one cluster."""
    held = counts > 0
    clusters = int(held.sum())
    if clusters < 2:
        return float("inf")
    residuals = (sums - sums.sum() / counts.sum() * counts)[held]
    return float(np.sqrt((residuals**2).sum() * clusters / (clusters - 1)) / counts.sum())


def as_t(normal_score: float, clusters: int) -> float:
    """Return the probability of a bootstrap's `normal_score` by Student's t. A bootstrap of few clusters is
    too narrow for two reasons: it divides by n, and it takes the sample's variance for the true one
    ("expanded percentiles", Hesterberg 2015, doi 10.1080/00031305.2015.1089789)."""
    if clusters < 2:
        return 1.0
    narrow = np.sqrt((clusters - 1) / (clusters + 1))
    return float(special.stdtr(clusters - 1, normal_score * narrow))


def expanded(probability: float, clusters: int) -> float:
    """Return the bootstrap quantile that gives a bound of `probability`: the inverse of `as_t`."""
    if clusters < 2:
        return 0.0 if probability < 0.5 else 1.0
    wide = np.sqrt((clusters + 1) / (clusters - 1))
    return float(special.ndtr(special.stdtrit(clusters - 1, probability) * wide))
