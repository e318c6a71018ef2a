"""Measure the cost of the sandbox: the CPU time of a set's canonical solutions, judged and bare.

    python -m bench sandbox [--problems human-eval] [--rounds 3]

Bare is `python3 main.py` or `node main.js`. Judged counts the program, bubblewrap and the worker. Each
program runs bare and judged in turn, so that a busy machine slows both, and the best of its rounds counts.
Compiled languages are left out: next to a compiler, the cost of the sandbox is negligible.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.table import Table

from acepilot.cli import program, text_console
from eval_humaneval.execution.detect import detect_sandbox
from eval_humaneval.execution.judge import Judge
from eval_humaneval.execution.sandbox import Sandbox, SandboxLevel
from eval_humaneval.execution.toolchains import find_toolchains
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.languages.base import Toolchain
from eval_humaneval.problems import problem_sets
from eval_humaneval.problems.problem import VERDICT_MARK, Program, program_of


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_bare(program: Program, toolchain: Toolchain, folder: str) -> float:
    source = program.source.replace(VERDICT_MARK, toolchain.verdict.format("", ""))
    Path(folder, toolchain.source_name).write_text(source, encoding="utf-8")
    before = cpu_of_children()
    command = (toolchain.run[0], toolchain.source_name)
    subprocess.run(command, cwd=folder, env={}, capture_output=True, check=False)
    return cpu_of_children() - before


def measure(programs: list[Program], toolchain: Toolchain, rounds: int, level: SandboxLevel) -> list[str]:
    """Return the cells of a row."""
    bare, judged = ([[0.0] * rounds for _ in programs] for _ in range(2))
    failed: set[int] = set()
    before = cpu_of_children()
    # One worker, since bare programs run one at a time: two would compete for caches.
    with Sandbox(level, workers=1) as sandbox, tempfile.TemporaryDirectory() as folder:
        for round_number in range(rounds):
            judge = Judge(sandbox)
            for number, program in enumerate(programs):
                bare[number][round_number] = run_bare(program, toolchain, folder)
                judgement = judge.judge(program, toolchain)
                judged[number][round_number] = judgement.cpu_s
                if judgement.outcome != "passed":
                    failed.add(number)
    worker_s = (cpu_of_children() - before - sum(map(sum, bare + judged))) / rounds
    bare_s, judged_s = sum(map(min, bare)), sum(map(min, judged))
    seconds = [f"{value:.2f}" for value in (bare_s, judged_s, worker_s)]
    return [
        f"{len(programs) - len(failed)} of {len(programs)}",
        *seconds,
        f"{(judged_s + worker_s) / bare_s:.2f}",
    ]


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", action="append", help="repeat for several (default: human-eval)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    problems = problem_sets.load(options.problems or ["human-eval"]).problems
    level = detect_sandbox()
    with Sandbox(level, workers=1) as sandbox:
        found = find_toolchains(ADAPTERS, sandbox)
    table = Table("language", "passed", "bare", "program + bubblewrap", "worker", "judged / bare")
    for language, toolchain in found.ready.items():
        chosen = [one for one in problems if one.language == language and one.canonical and not one.excluded]
        if chosen and not toolchain.compile:
            programs = [program_of(problem, problem.canonical or "") for problem in chosen]
            table.add_row(language, *measure(programs, toolchain, options.rounds, level))
    console = text_console()
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}")
    console.print(f"CPU seconds, the best of {options.rounds} rounds for each program")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
