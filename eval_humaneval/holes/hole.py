"""A hole in a file: the problem for the model, and everything that judging an answer needs."""

from dataclasses import dataclass
from typing import Literal

from eval_humaneval.problems.problem import Problem

Kind = Literal["line", "block", "expression"]


@dataclass(frozen=True)
class Hole:
    """`above + problem.prompt + truth + problem.suffix + below` is the whole file; `truth` was cut out. The
    model sees `prompt` and `suffix`; `above` and `below` are too far away. `block` is the Vue block
    (template, script or style), otherwise empty. `inner` is the language id of the code around the hole, such
    as TypeScript in a Vue script. That code reaches from `inner_start` in the text before the hole to
    `inner_end` in the text after it."""

    problem: Problem
    kind: Kind
    block: str
    inner: str
    inner_start: int
    inner_end: int
    above: str
    below: str

    @property
    def truth(self) -> str:
        return self.problem.canonical or ""

    @property
    def before(self) -> str:
        """The whole file before the hole."""
        return self.above + self.problem.prompt

    @property
    def after(self) -> str:
        return self.problem.suffix + self.below
