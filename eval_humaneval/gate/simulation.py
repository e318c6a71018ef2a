"""Simulate pairs of models whose true difference is known, to measure how often the gate errs.

The tests and laboratory/simulate.py sample many pairs from a `Population` and judge them with the gate's own
code. True pass rates lie near 0 or 1, as at temperature 0.2, and correlate between a problem's languages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from eval_humaneval.figures.resampling import Array
from eval_humaneval.gate.decision import Analysis, analyze
from eval_humaneval.gate.options import MAX_SAMPLES, GateOptions
from eval_humaneval.gate.statistics import PairedCounts

Ints = npt.NDArray[np.int64]
Damage = Literal["spread", "broken", "in all languages", "shuffled"]
"""How the candidate loses points. `spread`: every problem is a little harder. `broken`: some problems are
lost entirely, others in each language. `in all languages`: the same problems are lost in all languages.
`shuffled`: nothing is lost on average, but a share of the problems gets new random pass rates."""

BUILTIN = {f"language{number}": 48 for number in range(10)} | {"vue": 32}
HUMANEVAL = {"python": 164}
RATES = (0.2, 0.3)
"""Parameters of the Beta distribution of true pass rates; its mean is 0.4."""
LANGUAGE_CORRELATION = 0.6
"""Of a problem's rates in two languages (Gaussian copula)."""


@dataclass(frozen=True)
class Population:
    """A population of problems, for a base and a damaged candidate. `sizes` holds the number of problems by
    language. Languages share their problems; only Vue has its own. `lost` holds the points of 100 that the
    candidate truly loses, by language; for `shuffled`, the percentage of problems with new rates."""

    sizes: Mapping[str, int]
    samples: int
    damage: Damage = "spread"
    lost: Mapping[str, float] = field(default_factory=dict[str, float])
    rates: tuple[float, float] = RATES

    def judge(self, rng: np.random.Generator, options: GateOptions) -> Analysis:
        """Sample and judge one pair of runs; add samples once if the gate asks for them."""
        sizes = list(self.sizes.values())
        language = np.repeat(np.arange(len(sizes)), sizes)
        cluster = np.concatenate(
            [np.arange(size) + 1000 * (name == "vue") for name, size in self.sizes.items()]
        )
        cluster = np.unique(cluster, return_inverse=True)[1]
        base = self._rates(rng, cluster)
        candidate = self._damaged(rng, base, language, cluster)
        rates = np.stack([base, candidate])
        passed = rng.binomial(self.samples, rates)
        first = analyze(self._counts(language, cluster, passed, self.samples), options, None)
        more = first.samples_to_decide
        if first.verdict != "INCONCLUSIVE" or more is None or more > MAX_SAMPLES or not options.enlarge:
            return first
        passed = passed + rng.binomial(more - self.samples, rates)
        margins = {name: row.margin for name, row in first.compared.items()}
        return analyze(self._counts(language, cluster, passed, more), options, margins)

    def _rates(self, rng: np.random.Generator, cluster: Ints) -> Array:
        shared = rng.standard_normal(int(cluster.max()) + 1)[cluster]
        own = rng.standard_normal(len(cluster))
        return _beta(
            self.rates,
            special.ndtr(LANGUAGE_CORRELATION**0.5 * shared + (1 - LANGUAGE_CORRELATION) ** 0.5 * own),
        )

    def _damaged(self, rng: np.random.Generator, base: Array, language: Ints, cluster: Ints) -> Array:
        candidate = base.copy()
        shared = rng.random(int(cluster.max()) + 1)[cluster] if self.damage == "in all languages" else None
        for name, points in self.lost.items():
            rows = language == list(self.sizes).index(name)
            if self.damage == "spread":
                candidate[rows] = _harder(base[rows], self.rates, points / 100)
            else:
                average = self.rates[0] / sum(self.rates)
                share = points / 100 / (1 if self.damage == "shuffled" else average)
                hit = rows & ((rng.random(len(base)) if shared is None else shared) < share)
                shuffled = self.damage == "shuffled"
                candidate[hit] = _beta(self.rates, rng.random(int(hit.sum()))) if shuffled else 0.0
        return candidate

    def _counts(self, language: Ints, cluster: Ints, passed: Ints, samples: int) -> PairedCounts:
        base, candidate = passed.astype(np.float64)
        return PairedCounts(tuple(self.sizes), language, cluster, base, candidate, samples, greedy=False)


def _beta(rates: tuple[float, float], probability: Array) -> Array:
    return np.asarray(special.betaincinv(*rates, probability), dtype=np.float64)


def _harder(base: Array, rates: tuple[float, float], drop: float) -> Array:
    return np.asarray(special.expit(special.logit(base) - _shift(rates, drop)), dtype=np.float64)


@cache
def _shift(rates: tuple[float, float], drop: float) -> float:
    """Return the shift of all rates on the logit scale that lowers their mean by `drop`."""
    population = _beta(rates, (np.arange(20_000) + 0.5) / 20_000)

    def missing(shift: float) -> float:
        return float(population.mean() - special.expit(special.logit(population) - shift).mean()) - drop

    return float(optimize.brentq(missing, 0.0, 100.0))  # pyright: ignore[reportArgumentType]
