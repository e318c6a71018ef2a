"""A problem, and the program that judges one answer to it.

problem set -> `formats` or `builtin` -> Problem -> generation -> `program_of` -> execution
"""

from dataclasses import dataclass

VERDICT_MARK = "@acepilot:verdict@"
"""Marks the place in a problem's `tail` after the last assertion. The judge replaces it by a statement that
prints an unguessable word, so it must stand where the language allows a statement."""


@dataclass(frozen=True)
class Problem:
    """One problem in one language.

    The program that judges a completion is `head + prompt + completion + suffix + tail`. The model sees
    `prompt`, and `suffix` in hole filling; never `head` or `tail`. `cluster` is the same for a problem in all
    its languages: statistics resample clusters. A completion ends before the first of `stops`, and `tail`
    adds what the stop cut away, such as a closing brace. `canonical` and `wrong` are completions that must
    pass and must fail. `excluded` says why a faulty problem is left out; it is empty for a sound one.
    """

    id: str
    cluster: str
    language: str
    prompt: str
    stops: tuple[str, ...]
    tail: str
    head: str = ""
    suffix: str = ""
    canonical: str | None = None
    wrong: str | None = None
    excluded: str = ""


@dataclass(frozen=True)
class ProblemSet:
    """`skipped` counts records in languages that the evaluation does not run, by the set's name for them."""

    problems: tuple[Problem, ...]
    skipped: dict[str, int]


@dataclass(frozen=True)
class Program:
    """A program to judge; `source` holds VERDICT_MARK once. `language` is one of `languages.ADAPTERS`."""

    language: str
    source: str


def truncate(completion: str, stops: tuple[str, ...]) -> str:
    """Return `completion` up to the first of `stops`."""
    found = [at for stop in stops if (at := completion.find(stop)) >= 0]
    return completion[: min(found)] if found else completion


def program_of(problem: Problem, completion: str) -> Program:
    """Return the program that judges `completion`, which is cut at the problem's stops first."""
    body = truncate(completion, problem.stops)
    source = f"{problem.head}{problem.prompt}{body}{problem.suffix}{problem.tail}"
    return Program(problem.language, source)
