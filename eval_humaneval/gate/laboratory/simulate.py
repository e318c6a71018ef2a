"""Measure how often the gate errs, on simulated models whose true difference is known.

    python -m eval_humaneval.gate.laboratory.simulate --draws 1000    # 20 minutes on two free cores

True pass rates lie near 0 or 1, as at temperature 0.2, and correlate between a problem's languages. The
candidates are judged with the gate's own code.

Prints two tables, whose main rows are in docs/gate-statistics.md: the margins and the smallest visible drops
of runs by their size, and the share of PASS, FAIL and INCONCLUSIVE for each kind of damage.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import Pool
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from acepilot.cli import program
from eval_humaneval.figures.resampling import Array
from eval_humaneval.gate.decision import Analysis, analyze
from eval_humaneval.gate.options import MAX_SAMPLES, GateOptions
from eval_humaneval.gate.statistics import POOL, PairedCounts

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

ONE, TWO, THREE, *_ = BUILTIN
DEFAULT = GateOptions()
FIRST_LOOK = GateOptions(alpha=DEFAULT.alpha / 2, enlarge=False)


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
        mixed = LANGUAGE_CORRELATION**0.5 * shared + (1 - LANGUAGE_CORRELATION) ** 0.5 * own
        return _beta(self.rates, special.ndtr(mixed))

    def _damaged(self, rng: np.random.Generator, base: Array, language: Ints, cluster: Ints) -> Array:
        candidate = base.copy()
        shared = rng.random(int(cluster.max()) + 1)[cluster] if self.damage == "in all languages" else None
        for name, points in self.lost.items():
            rows = language == list(self.sizes).index(name)
            if self.damage == "spread":
                shift = _shift(self.rates, points / 100)
                candidate[rows] = special.expit(special.logit(base[rows]) - shift)
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


@cache
def _shift(rates: tuple[float, float], drop: float) -> float:
    """Return the shift of all rates on the logit scale that lowers their mean by `drop`."""
    population = _beta(rates, (np.arange(20_000) + 0.5) / 20_000)

    def missing(shift: float) -> float:
        return float(population.mean() - special.expit(special.logit(population) - shift).mean()) - drop

    return float(optimize.brentq(missing, 0.0, 100.0))  # pyright: ignore[reportArgumentType]


def rows() -> list[tuple[str, Population, GateOptions]]:
    """Return the rows of the second table: their label, population and options."""
    same = [Population(sizes, samples) for sizes in (BUILTIN, HUMANEVAL) for samples in (5, 10, 20)]
    found = [("same model", population, DEFAULT) for population in same]
    churn = Population(BUILTIN, 10, "shuffled", _everywhere(10))
    found += [
        ("same model, one look", Population(BUILTIN, 10), GateOptions(enlarge=False)),
        ("same model, a strong one", Population(BUILTIN, 10, rates=(0.3, 0.1)), DEFAULT),
        ("10 % of problems better or worse", churn, DEFAULT),
        ("the same, margins 18 and pool 5", churn, GateOptions(pool_margin=5, language_margin=18)),
    ]
    for damage in ("spread", "broken"):
        in_one = Population(BUILTIN, 10, damage, {ONE: 11})
        eleven = GateOptions(language_margins={ONE: 11})
        four = GateOptions(pool_margin=4, language_margin=4)
        three = dict.fromkeys((ONE, TWO, THREE), 8.0)
        found += [
            (f"-1 everywhere, {damage}", Population(BUILTIN, 10, damage, _everywhere(1)), DEFAULT),
            (f"-2 everywhere, {damage}", Population(BUILTIN, 10, damage, _everywhere(2)), DEFAULT),
            (f"-5 everywhere, {damage}", Population(BUILTIN, 10, damage, _everywhere(5)), DEFAULT),
            (f"-11 in one language, its margin 11, {damage}", in_one, eleven),
            (f"-4, margins 4, {damage}", Population(HUMANEVAL, 10, damage, {"python": 4}), four),
            *((f"-8 in three, {damage}", Population(BUILTIN, n, damage, three), DEFAULT) for n in (10, 20)),
            (f"-15 in one language, {damage}", Population(BUILTIN, 10, damage, {ONE: 15}), DEFAULT),
        ]
    alike = Population(BUILTIN, 10, "in all languages", _everywhere(2))
    return [*found, ("-2 everywhere, broken in all languages", alike, DEFAULT)]


def _everywhere(points: float) -> dict[str, float]:
    return dict.fromkeys(BUILTIN, points)


def judge(task: tuple[int, int]) -> tuple[str, int]:
    """Return the verdict on one simulated candidate of a row, and its samples per problem."""
    row, seed = task
    _, population, options = rows()[row]
    found = population.judge(np.random.default_rng([row, seed]), options)
    return found.verdict, found.compared[POOL].samples


def print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def print_head(*cells: str) -> None:
    print()
    print_row(*cells)
    print_row(*["---"] * len(cells))


def print_sizes() -> None:
    print_head("problems", "samples", "", "margin", "smallest visible drop", "smallest failed drop")
    for population in (
        Population(sizes, samples) for sizes in (BUILTIN, HUMANEVAL) for samples in (5, 10, 20, 40)
    ):
        analyses = [population.judge(np.random.default_rng(n), FIRST_LOOK) for n in range(20)]
        for row in (next(iter(population.sizes)), POOL):
            found = [one.compared[row] for one in analyses]
            figures = [(one.margin, one.smallest_visible_drop, one.smallest_failed_drop) for one in found]
            print_row(found[0].problems, population.samples, row, *np.mean(figures, axis=0).round(1))


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval_humaneval.gate.laboratory.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--draws", type=int, default=1000, help="candidates for each row (%(default)s)")
    arguments = parser.parse_args()
    print_sizes()
    print_head("problems", "samples", "truth", "PASS", "FAIL", "INCONCLUSIVE", "enlarged")
    with Pool() as pool:
        for number, (truth, population, _) in enumerate(rows()):
            judged = pool.map(judge, [(number, seed) for seed in range(arguments.draws)], chunksize=5)
            counts = Counter(verdict for verdict, _ in judged)
            counts["enlarged"] = sum(samples > population.samples for _, samples in judged)
            columns = ("PASS", "FAIL", "INCONCLUSIVE", "enlarged")
            shares = [f"{100 * counts[column] / len(judged):.1f} %" for column in columns]
            print_row(sum(population.sizes.values()), population.samples, truth, *shares)
    return 0


if __name__ == "__main__":
    sys.exit(main())
