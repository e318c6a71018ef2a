"""How often the gate errs, and what it finds, in worlds whose truth is known: the tables of docs/gate.md.

python -m eval_humaneval.gate.laboratory.simulate [--draws 1000]      # twenty minutes on two free cores
"""

import argparse
import sys
from collections import Counter
from multiprocessing import Pool

import numpy as np

from acepilot.cli import program
from eval_humaneval.gate.decision import GateOptions
from eval_humaneval.gate.simulation import BUILTIN, HUMANEVAL, World
from eval_humaneval.gate.statistics import POOL

ONE, TWO, THREE, *_ = BUILTIN
DEFAULT = GateOptions()
FIRST_LOOK = GateOptions(alpha=DEFAULT.alpha / 2, enlarge=False)


def rows() -> list[tuple[str, World, GateOptions]]:
    """What is true, the world in which it is, and how the gate is set."""
    same = [World(sizes, samples) for sizes in (BUILTIN, HUMANEVAL) for samples in (5, 10, 20)]
    found = [("same model", world, DEFAULT) for world in same]
    churn = World(BUILTIN, 10, "shuffled", _everywhere(10))
    found += [
        ("same model, one look", World(BUILTIN, 10), GateOptions(enlarge=False)),
        ("same model, a strong one", World(BUILTIN, 10, rates=(0.3, 0.1)), DEFAULT),
        ("10 % of problems better or worse", churn, DEFAULT),
        ("the same, margins 18 and pool 5", churn, GateOptions(pool_margin=5, language_margin=18)),
    ]
    for damage in ("spread", "broken"):
        eleven = GateOptions(language_margins={ONE: 11})
        four = GateOptions(pool_margin=4, language_margin=4)
        three = dict.fromkeys((ONE, TWO, THREE), 8.0)
        found += [
            (f"-1 everywhere, {damage}", World(BUILTIN, 10, damage, _everywhere(1)), DEFAULT),
            (f"-2 everywhere, {damage}", World(BUILTIN, 10, damage, _everywhere(2)), DEFAULT),
            (f"-5 everywhere, {damage}", World(BUILTIN, 10, damage, _everywhere(5)), DEFAULT),
            (f"-11 in one language, its margin 11, {damage}", World(BUILTIN, 10, damage, {ONE: 11}), eleven),
            (f"-4, margins 4, {damage}", World(HUMANEVAL, 10, damage, {"python": 4}), four),
            *((f"-8 in three, {damage}", World(BUILTIN, n, damage, three), DEFAULT) for n in (10, 20)),
            (f"-15 in one language, {damage}", World(BUILTIN, 10, damage, {ONE: 15}), DEFAULT),
        ]
    alike = World(BUILTIN, 10, "in all languages", _everywhere(2))
    return [*found, ("-2 everywhere, broken in all languages", alike, DEFAULT)]


def _everywhere(points: float) -> dict[str, float]:
    return dict.fromkeys(BUILTIN, points)


def judge(task: tuple[int, int]) -> tuple[str, int]:
    """The verdict on one draw of a row, and the samples that it took."""
    row, seed = task
    _, world, options = rows()[row]
    seen = world.judge(np.random.default_rng([row, seed]), options)
    return seen.verdict, seen.compared[POOL].samples


def print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def print_head(*cells: str) -> None:
    print()
    print_row(*cells)
    print_row(*["---"] * len(cells))


def print_sizes() -> None:
    print_head("problems", "samples", "", "margin", "smallest visible drop", "smallest failed drop")
    for world in (World(sizes, samples) for sizes in (BUILTIN, HUMANEVAL) for samples in (5, 10, 20, 40)):
        looks = [world.judge(np.random.default_rng(n), FIRST_LOOK) for n in range(20)]
        for row in (next(iter(world.sizes)), POOL):
            found = [look.compared[row] for look in looks]
            figures = [(it.margin, it.smallest_visible_drop, it.smallest_failed_drop) for it in found]
            print_row(found[0].problems, world.samples, row, *np.mean(figures, axis=0).round(1))


@program()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="candidates judged for each row")
    arguments = parser.parse_args()
    print_sizes()
    print_head("problems", "samples", "truth", "PASS", "FAIL", "INCONCLUSIVE", "enlarged")
    with Pool() as pool:
        for number, (truth, world, _) in enumerate(rows()):
            judged = pool.map(judge, [(number, seed) for seed in range(arguments.draws)], chunksize=5)
            counts = Counter(verdict for verdict, _ in judged)
            counts["enlarged"] = sum(samples > world.samples for _, samples in judged)
            columns = ("PASS", "FAIL", "INCONCLUSIVE", "enlarged")
            shares = [f"{100 * counts[column] / len(judged):.1f} %" for column in columns]
            print_row(sum(world.sizes.values()), world.samples, truth, *shares)
    return 0


if __name__ == "__main__":
    sys.exit(main())
