"""Measure how often the gate errs, on simulated models whose true difference is known.

    python -m eval_humaneval.gate.laboratory.simulate --draws 1000    # 20 minutes on two free cores

Prints two tables, whose main rows are in docs/gate-statistics.md: the margins and the smallest visible drops
of runs by their size, and the share of PASS, FAIL and INCONCLUSIVE for each kind of damage.
"""

import argparse
import sys
from collections import Counter
from multiprocessing import Pool

import numpy as np

from acepilot.cli import program
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.gate.simulation import BUILTIN, HUMANEVAL, Population
from eval_humaneval.gate.statistics import POOL

ONE, TWO, THREE, *_ = BUILTIN
DEFAULT = GateOptions()
FIRST_LOOK = GateOptions(alpha=DEFAULT.alpha / 2, enlarge=False)


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
        eleven = GateOptions(language_margins={ONE: 11})
        four = GateOptions(pool_margin=4, language_margin=4)
        three = dict.fromkeys((ONE, TWO, THREE), 8.0)
        found += [
            (f"-1 everywhere, {damage}", Population(BUILTIN, 10, damage, _everywhere(1)), DEFAULT),
            (f"-2 everywhere, {damage}", Population(BUILTIN, 10, damage, _everywhere(2)), DEFAULT),
            (f"-5 everywhere, {damage}", Population(BUILTIN, 10, damage, _everywhere(5)), DEFAULT),
            (
                f"-11 in one language, its margin 11, {damage}",
                Population(BUILTIN, 10, damage, {ONE: 11}),
                eleven,
            ),
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
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--draws", type=int, default=1000, help="simulated candidates for each row (default: %(default)s)"
    )
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
