"""What is cut out of a file: a problem to ask, and all that is needed to judge an answer."""

from dataclasses import dataclass
from typing import Literal

from eval_humaneval.problems.problem import Problem

Kind = Literal["line", "block", "expression"]


@dataclass(frozen=True)
class Hole:
    """`above + problem.prompt + truth + problem.suffix + below` is the file, to the last character.

    `prompt` and `suffix` are what a model may see; `above` and `below` are too far away. `block` is Vue's
    (template, script or style), otherwise empty. `inner` is the language id of the code around the hole:
    TypeScript in a Vue script, or in a template's expression. That code reaches from `inner_start` in the
    text before the hole to `inner_end` in the text after it.
    """

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
        """All of the file before the hole."""
        return self.above + self.problem.prompt

    @property
    def after(self) -> str:
        return self.problem.suffix + self.below
