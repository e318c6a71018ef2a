"""What the adapter of a public set is: the fields of its records, and the Problem that one of them is.

file, folder, package or hub (`sources`) -> row -> the Record whose fields it has -> Problem
"""

import re
from abc import abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from eval_humaneval.problems.problem import Problem


class Record(BaseModel):
    """One record of a public set. A format is a subclass: its required fields are what it is known by."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    format: ClassVar[str]

    @abstractmethod
    def language_name(self) -> str:
        """The language, as the set names it."""

    @abstractmethod
    def problem(self) -> Problem | None:
        """None where programs of the language are not run here. Raises ValueError for what no set holds."""


def task_of(pattern: str, task_id: str) -> re.Match[str]:
    """What the groups of `pattern` are in a task's id."""
    match = re.fullmatch(pattern, task_id)
    if match is None:
        raise ValueError(f"`{task_id}` is no id of this format's tasks")
    return match
