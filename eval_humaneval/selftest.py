"""Judges the problems themselves: each canonical solution must pass, each wrong one must not.

What fails here is the infrastructure's or the problem's fault, and never a model's.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console

from acepilot.progress import count_progress
from eval_humaneval.examiner import Examiner, all_of
from eval_humaneval.problems.problem import Problem, program_of
from eval_humaneval.problems.problem_sets import ProblemSet
from eval_humaneval.results import Outcome

Which = Literal["canonical", "wrong"]


@dataclass(frozen=True)
class Task:
    """A problem with one of its solutions, and what became of it."""

    problem: str
    language: str
    which: Which
    outcome: Outcome
    detail: str


@dataclass
class Selftest:
    """`failed`: canonical solutions that do not pass, and wrong ones that do. `skipped`: why, by problem."""

    passed: list[Task] = field(default_factory=list[Task])
    failed: list[Task] = field(default_factory=list[Task])
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    def as_json(self) -> dict[str, Any]:
        return {
            "passed": len(self.passed),
            "failed": len(self.failed),
            "skipped": len(self.skipped),
            "tasks": {
                "passed": sorted(f"{task.problem} {task.which}" for task in self.passed),
                "failed": [asdict(task) for task in self.failed],
                "skipped": self.skipped,
            },
        }


async def check_all(found: ProblemSet, examiner: Examiner, console: Console) -> Selftest:
    """All solutions of a set, in the languages whose tools are here; the others are skipped, saying why."""
    missing = examiner.missing({problem.language for problem in found.problems})
    runnable = [problem for problem in found.problems if problem.language not in missing]
    result = await check(runnable, examiner, console, wrong=True)
    for problem in found.problems:
        if problem.language in missing:
            result.skipped[problem.id] = missing[problem.language]
    for language, count in found.skipped.items():
        result.skipped[f"{count} problems in {language}"] = "this language is not run here"
    return result


async def check(
    problems: Sequence[Problem], examiner: Examiner, console: Console, *, wrong: bool
) -> Selftest:
    """Runs the canonical solutions of `problems`, and the wrong ones too with `wrong`; all cores at once."""
    result = Selftest()
    tasks: list[tuple[Problem, Which, str]] = []
    for problem in problems:
        if problem.excluded:
            result.skipped[problem.id] = problem.excluded
        elif problem.canonical is None:
            result.skipped[problem.id] = "the set has no solution of its own in this language"
        else:
            tasks.append((problem, "canonical", problem.canonical))
            if wrong and problem.wrong is not None:
                tasks.append((problem, "wrong", problem.wrong))

    async def one(problem: Problem, which: Which, completion: str) -> None:
        judgement = await examiner.examine(program_of(problem, completion))
        task = Task(problem.id, problem.language, which, judgement.outcome, judgement.detail)
        passes = judgement.outcome == "passed"
        is_right = passes if which == "canonical" else not passes and judgement.outcome != "infrastructure"
        (result.passed if is_right else result.failed).append(task)
        advance(len(result.passed) + len(result.failed))

    with count_progress("checking the problems' own solutions", len(tasks), console) as advance:
        await all_of(one(*task) for task in tasks)
    return result
