"""Measure how often a model passes the gate against itself, by splitting one run into two at random.

    python -m eval_humaneval run --samples 8 --temperature 0.2 --to FOLDER
    python -m eval_humaneval.gate.laboratory.split FOLDER --splits 20

Each split gives half of every problem's samples to the base and half to the candidate. The gate judges it
with the default options of `compare`: a first look at half of these samples and, if that is inconclusive, a
second look at all of them. Exit code: 0 if at least 95 % of the splits pass, 1 if fewer do, 3 if nothing
could be judged.
"""

import argparse
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from acepilot.cli import program
from acepilot.errors import ConfigError
from acepilot.models.gate_report import GateReport
from acepilot.models.provenance import git_commit
from eval_humaneval.figures import metrics
from eval_humaneval.gate.decision import NOT_JUDGED, judge_runs
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.results import Results, Sample, by_problem, read_results, read_samples

REQUIRED_SHARE = 0.95  # of the splits must pass


def halves(samples: list[Sample], seed: int) -> tuple[list[Sample], list[Sample]]:
    """Give each side half of every problem's samples; one of an odd number is left out."""
    random = Random(seed)  # noqa: S311 - not a secret
    sides: tuple[list[Sample], list[Sample]] = ([], [])
    for _, unordered in sorted(by_problem(samples).items()):
        group = sorted(unordered, key=lambda sample: sample.index)
        random.shuffle(group)
        half = len(group) // 2
        sides[0].extend(group[:half])
        sides[1].extend(group[half : 2 * half])
    return sides


def as_run(results: Results, samples: list[Sample], per_problem: int) -> Results:
    """Return `results` with the first `per_problem` of each problem's samples."""
    kept = [sample for group in by_problem(samples).values() for sample in group[:per_problem]]
    config = results.config.model_copy(update={"samples": per_problem})
    return results.model_copy(update={"config": config, "problems": metrics.problem_scores(kept)})


def judge_split(results: Results, sides: tuple[list[Sample], list[Sample]], seed: int) -> GateReport:
    """Judge a split as `compare` would."""

    def judged(per_problem: int, first: GateReport | None) -> GateReport:
        base, candidate = (as_run(results, side, per_problem) for side in sides)
        options = GateOptions(seed=seed)
        created = datetime.now(UTC)
        return judge_runs(base, candidate, options, created=created, git_commit=git_commit(), first=first)

    half = results.config.samples // 2
    report = judged(half // 2, None)
    return judged(half, report) if report.verdict == "INCONCLUSIVE" else report


@program(error_code=NOT_JUDGED)
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval_humaneval.gate.laboratory.split",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of a run with at least 4 samples per problem")
    parser.add_argument("--splits", type=int, default=20, help="number of random splits (%(default)s)")
    given = parser.parse_args()
    results = read_results(given.run)
    if results.config.samples < 4:
        raise ConfigError(
            f"{given.run} has {results.config.samples} samples per problem: run it with --samples 4 or more."
        )
    samples = read_samples(given.run)
    verdicts: Counter[str] = Counter()
    for seed in range(given.splits):
        report = judge_split(results, halves(samples, seed), seed)
        verdicts[report.verdict] += 1
        if report.pool:
            pool = f"{report.pool.difference:+.2f}, lower bound {report.pool.lower:+.2f}"
            print(f"{seed}: {report.verdict} at look {1 + report.enlarged}, pool {pool}")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    print(f"{results.model.name} against itself, {given.splits} splits: {counts}")
    return 0 if verdicts["PASS"] >= REQUIRED_SHARE * given.splits else 1


if __name__ == "__main__":
    sys.exit(main())
