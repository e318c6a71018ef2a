"""Test the problems themselves: each canonical solution must pass, and each wrong one must fail.

A failure here is the fault of this machine or of the problem, never of a model.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console

from acepilot.progress import count_progress
from eval_humaneval.execution.judge_pool import JudgePool, run_all
from eval_humaneval.problems.problem import Problem, ProblemSet, program_of
from eval_humaneval.results import Outcome

Which = Literal["canonical", "wrong"]


@dataclass(frozen=True)
class Task:
    """The judgement of one solution of a problem."""

    problem: str
    language: str
    which: Which
    outcome: Outcome
    detail: str


@dataclass
class Selftest:
    """`failed`: canonical solutions that do not pass, wrong ones that do. `skipped`: problem -> reason."""

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


async def check_all(problem_set: ProblemSet, judge_pool: JudgePool, console: Console) -> Selftest:
    """Check all solutions of a set. Languages whose tools are missing are skipped, with the reason."""
    problems = problem_set.problems
    missing = judge_pool.missing({problem.language for problem in problems})
    runnable = [problem for problem in problems if problem.language not in missing]
    result = await check(runnable, judge_pool, console, wrong=True)
    result.skipped |= {one.id: missing[one.language] for one in problems if one.language in missing}
    for language, count in problem_set.skipped.items():
        result.skipped[f"{count} problems in {language}"] = "the evaluation does not run this language"
    return result


async def check(
    problems: Sequence[Problem], judge_pool: JudgePool, console: Console, *, wrong: bool
) -> Selftest:
    """Run the canonical solutions of `problems` in parallel; with `wrong`, the wrong solutions as well."""
    result = Selftest()
    tasks: list[tuple[Problem, Which, str]] = []
    for problem in problems:
        if problem.excluded:
            result.skipped[problem.id] = problem.excluded
        elif problem.canonical is None:
            result.skipped[problem.id] = "the set has no solution in this language"
        else:
            tasks.append((problem, "canonical", problem.canonical))
            if wrong and problem.wrong is not None:
                tasks.append((problem, "wrong", problem.wrong))

    async def one(problem: Problem, which: Which, completion: str) -> None:
        judgement = await judge_pool.judge(program_of(problem, completion))
        task = Task(problem.id, problem.language, which, judgement.outcome, judgement.detail)
        passes = judgement.outcome == "passed"
        is_right = passes if which == "canonical" else not passes and judgement.outcome != "infrastructure"
        (result.passed if is_right else result.failed).append(task)
        advance(len(result.passed) + len(result.failed))

    with count_progress("checking the problems' own solutions", len(tasks), console) as advance:
        await run_all(one(*task) for task in tasks)
    return result
