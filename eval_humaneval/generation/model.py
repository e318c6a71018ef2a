"""What an evaluated model offers, however it is reached: completions, and scores of given text."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from eval_humaneval.problems.problem import Problem

IsComplete = Callable[[str], bool]
"""Return True when more text after this completion would never be used."""


@dataclass(frozen=True)
class SamplingOptions:
    """`temperature` 0 is greedy. `seed` is the run's; `sample_seed` derives one for each sample."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class ModelAnswer:
    """`text` is cut at the problem's stops. `truncated`: max_tokens were used up before a stop came."""

    text: str
    tokens: int
    truncated: bool
    seconds: float


class Model(Protocol):
    """An evaluated model. `engine` names what runs it, for the results."""

    engine: str

    async def complete(
        self, problem: Problem, index: int, sampling: SamplingOptions, is_complete: IsComplete
    ) -> ModelAnswer:
        """Return sample number `index` of `problem`. Raise EngineFailed."""
        ...

    async def score(self, problem: Problem, continuation: str) -> list[float] | None:
        """Return the natural-log probability of each token of `continuation`; None if there is none."""
        ...

    async def close(self) -> None: ...


def sample_seed(seed: int, problem_id: str, index: int) -> int:
    """Return a 31-bit seed for one sample, independent of the other samples and their order."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def has_stop(problem: Problem) -> IsComplete:
    return lambda text: any(stop in text for stop in problem.stops)
