"""HumanEval-Infilling (github.com/openai/human-eval-infilling): holes in the solutions of HumanEval.

The program is prompt, completion, suffix, test, `check(entry_point)`; the model sees the suffix. A hole is
one line, several lines, or a random span of characters.
"""

from typing import ClassVar

from eval_humaneval.formats import python_check
from eval_humaneval.formats.base import Record, task_of
from eval_humaneval.formats.openai import check_tail
from eval_humaneval.problems.problem import Problem

KINDS = {
    "SingleLineInfilling": "single-line",
    "MultiLineInfilling": "multi-line",
    "RandomSpanInfilling": "random-span",
    "RandomSpanInfillingLight": "random-span-light",
}


class InfillingRecord(Record):
    format: ClassVar[str] = "HumanEval-Infilling"

    task_id: str
    prompt: str
    suffix: str
    entry_point: str
    canonical_solution: str
    test: str

    def language_name(self) -> str:
        return "python"

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
