"""HumanEval-Infilling (github.com/openai/human-eval-infilling): holes in the solutions of HumanEval.

The program is prompt, completion, suffix, test, `check(entry_point)`; the model sees the suffix. A hole is
one line, several lines, or a random span of characters.
"""

from typing import ClassVar

from eval_humaneval.formats import python_check
from eval_humaneval.formats.base import Record, task_of
from eval_humaneval.formats.openai import check_tail
from eval_humaneval.problems import Problem

KINDS = {
    "SingleLine": "single-line",
    "MultiLine": "multi-line",
    "RandomSpan": "random-span",
    "RandomSpanLight": "random-span-light",
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
        kinds = "|".join(KINDS)
        task = task_of(
            rf"(?P<kind>{kinds})Infilling(?P<light>Light)?/(?P<rest>(HumanEval/\d+)/\w+)", self.task_id
        )
        kind = KINDS[task["kind"] + (task["light"] or "")]
        stops, suffix, canonical = python_check.STOPS, self.suffix, self.canonical_solution
        if kind == "single-line":
            # The line's end is left standing behind the hole: it can be the stop then.
            stops, suffix, canonical = ("\n",), f"\n{suffix}", canonical.removesuffix("\n")
        return Problem(
            id=f"infilling/{kind}/{task['rest']}",
            cluster=task[4],
            language="python",
            prompt=self.prompt,
            suffix=suffix,
            stops=stops,
            tail=check_tail(self.test, self.entry_point),
            canonical=canonical,
        )
