"""The judge's result for one program."""

from dataclasses import dataclass

from eval_humaneval.results import Outcome


@dataclass(frozen=True)
class Judgement:
    """`detail` is the end of the program's output, or why it was stopped. `cpu_s` is user and system time of
    the whole process tree, compiling included."""

    outcome: Outcome
    detail: str
    cpu_s: float
    wall_s: float
