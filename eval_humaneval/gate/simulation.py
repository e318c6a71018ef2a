"""Worlds whose truth is known, to prove the gate by: how often it is wrong, and what it finds.

The tests and laboratory/simulate.py judge many draws of a `World` with the gate's own code. Pass
rates lie near 0 or 1, as they do at temperature 0.2, and a problem is about as hard in every language.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from eval_humaneval.figures.resampling import Array
from eval_humaneval.gate.decision import GateOptions, Look, look
from eval_humaneval.gate.statistics import Cells

Damage = Literal["spread", "broken", "in all languages", "shuffled"]
"""How points are lost. `spread`: every problem a little harder; `broken`: some problems lost entirely, each
language's by itself; `in all languages`: the same ones in all. `shuffled` loses nothing: a share of the
problems gets new rates, by chance better or worse."""

BUILTIN = {f"language{number}": 48 for number in range(10)} | {"vue": 32}
HUMANEVAL = {"python": 164}
RATES = (0.2, 0.3)
LIKENESS = 0.6
MOST_SAMPLES = 50
"""As `compare` enlarges."""


@dataclass(frozen=True)
class World:
    """`sizes`: problems by language, the same ones in each, but Vue's are its own. `lost`: points of 100 that
    the candidate truly loses, by language; for `shuffled` the percentage of problems redrawn."""

    sizes: Mapping[str, int]
    samples: int
    damage: Damage = "spread"
    lost: Mapping[str, float] = field(default_factory=dict[str, float])
    rates: tuple[float, float] = RATES

    def judge(self, rng: np.random.Generator, options: GateOptions) -> Look:
        """One candidate judged, samples added once if the gate asks for them."""
        names = np.repeat(list(self.sizes), list(self.sizes.values()))
        cluster = np.concatenate(
            [np.arange(size) + 1000 * (name == "vue") for name, size in self.sizes.items()]
        )
        cluster = np.unique(cluster, return_inverse=True)[1]
        base = self._rates(rng, cluster)
        candidate = self._damaged(rng, base, names, cluster)
        rates = np.stack([base, candidate])
        passed = rng.binomial(self.samples, rates)
        seen = look(self._cells(names, cluster, passed, self.samples), options, None)
        more = seen.samples_to_decide
        if seen.verdict != "INCONCLUSIVE" or more is None or more > MOST_SAMPLES or not options.enlarge:
            return seen
        passed = passed + rng.binomial(more - self.samples, rates)
        margins = {name: it.margin for name, it in seen.compared.items()}
        return look(self._cells(names, cluster, passed, more), options, margins)

    def _rates(self, rng: np.random.Generator, cluster: npt.NDArray[np.int64]) -> Array:
        shared = rng.standard_normal(int(cluster.max()) + 1)[cluster]
        own = rng.standard_normal(len(cluster))
        return _beta(self.rates, special.ndtr(LIKENESS**0.5 * shared + (1 - LIKENESS) ** 0.5 * own))

    def _damaged(
        self,
        rng: np.random.Generator,
        base: Array,
        names: npt.NDArray[np.str_],
        cluster: npt.NDArray[np.int64],
    ) -> Array:
        candidate = base.copy()
        shared = rng.random(int(cluster.max()) + 1)[cluster] if self.damage == "in all languages" else None
        for language, points in self.lost.items():
            rows = names == language
            if self.damage == "spread":
                candidate[rows] = _harder(base[rows], self.rates, points / 100)
            else:
                average = self.rates[0] / sum(self.rates)
                share = points / 100 / (1 if self.damage == "shuffled" else average)
                hit = rows & ((rng.random(len(base)) if shared is None else shared) < share)
                redrawn = self.damage == "shuffled"
                candidate[hit] = _beta(self.rates, rng.random(int(hit.sum()))) if redrawn else 0.0
        return candidate

    def _cells(
        self,
        names: npt.NDArray[np.str_],
        cluster: npt.NDArray[np.int64],
        passed: npt.NDArray[np.int64],
        samples: int,
    ) -> Cells:
        languages = tuple(self.sizes)
        return Cells(
            languages=languages,
            language=np.array([languages.index(name) for name in names]),
            cluster=cluster,
            base=passed[0].astype(np.float64),
            candidate=passed[1].astype(np.float64),
            samples=samples,
            greedy=False,
        )


def _beta(rates: tuple[float, float], probability: Array) -> Array:
    return np.asarray(special.betaincinv(*rates, probability), dtype=np.float64)


def _harder(base: Array, rates: tuple[float, float], drop: float) -> Array:
    return np.asarray(special.expit(special.logit(base) - _shift(rates, drop)), dtype=np.float64)


@cache
def _shift(rates: tuple[float, float], drop: float) -> float:
    """By how much all rates move on the logit scale when the world's mean falls by `drop`."""
    world = _beta(rates, (np.arange(20_000) + 0.5) / 20_000)

    def missing(shift: float) -> float:
        return float(world.mean() - special.expit(special.logit(world) - shift).mean()) - drop

    return float(optimize.brentq(missing, 0.0, 100.0))  # pyright: ignore[reportArgumentType]
