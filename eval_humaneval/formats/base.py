"""The base of the format adapters: each one declares a record's fields and turns a record into a Problem.

file, folder, package or hub (`sources`) -> Row -> the Record with its fields -> Problem
"""

import re
from abc import abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from eval_humaneval.problems.problem import Problem


class Record(BaseModel):
    """One record of a public set. Each format is a subclass, recognised by its required fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    format: ClassVar[str]

    @abstractmethod
    def language_name(self) -> str:
        """Return the set's name for the language."""

    @abstractmethod
    def problem(self) -> Problem | None:
        """Return None if the evaluation does not run the language. Raise ValueError for a bad record."""


def task_of(pattern: str, task_id: str) -> re.Match[str]:
    """Match a task's id. Raise ValueError if it does not match."""
    match = re.fullmatch(pattern, task_id)
    if match is None:
        raise ValueError(f"`{task_id}` is not a task id of this format")
    return match
