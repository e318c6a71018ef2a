"""The base of the format adapters: each one declares a record's fields and turns a record into a Problem.

file, folder, package or hub (`sources`) -> Row -> the Record with its fields -> Problem

The functions find where completions end in languages with braces, and where the tests get the verdict mark.
"""

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from eval_humaneval.problems.problem import VERDICT_MARK, Problem


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


RUN_ON = ("\nfunc main", "\nint main", "\nfn main", "\n#[cfg", "\n#include", "\n```")
"""Line starts that never belong to a solution."""


@dataclass(frozen=True)
class Ending:
    """A problem's stops, its canonical completion cut at them, and the text that closes a completion."""

    stops: tuple[str, ...]
    canonical: str | None
    closing: str


def end_at(closer: str, canonical: str, closing: str) -> Ending:
    """Cut completions at `closer`, the closing brace of the prompt's function, and put `closing` there. If
    the set's own solution continues after a `closer`, because of helper functions or unindented lines, a
    completion must close its own brace, and ends at one of RUN_ON."""
    body, found, rest = canonical.partition(closer)
    if found and re.fullmatch(r"([\s};]|^#(include|undef).*$)*", rest, re.MULTILINE):
        return Ending((closer,), body, closing)
    return Ending(RUN_ON, canonical, "\n")


def at_end_of_main(tests: str, depth: int) -> str:
    """Put the verdict mark before the last `depth` closing braces of `tests`; the first one ends main."""
    match = re.search(rf"(?:return 0;\s*)?(?:\}}\s*){{{depth}}}\Z", tests)
    if match is None:
        raise ValueError("the tests do not end with the closing brace of main")
    return f"{tests[: match.start()]}{VERDICT_MARK}\n{tests[match.start() :]}"


def at_end(tests: str) -> str:
    """Put the verdict mark after `tests`, for languages with top-level statements."""
    return f"{tests}\n{VERDICT_MARK}\n"
