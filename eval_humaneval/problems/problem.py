"""What a model is asked: a problem, however its set wrote it, and the program that judges one answer.

Problem set -> `formats` or `builtin` -> Problem -> generate -> `program_of` -> execution.
"""

from dataclasses import dataclass

VERDICT_MARK = "@acepilot:verdict@"
"""Stands in a problem's `tail` where the last assertion has held; the judge puts the language's own print
statement of an unguessable word there. It must stand where a statement may."""


@dataclass(frozen=True)
class Problem:
    """One problem in one language.

    The program that judges a completion is `head + prompt + completion + suffix + tail`. The model sees
    `prompt`, and `suffix` where that is to be filled up to; never `head` or `tail`. `cluster` is the same for
    one problem in all its languages: comparisons resample clusters. A completion ends before the first of
    `stops`; `tail` supplies what such a stop cut away, a closing brace for instance. `canonical` and `wrong`
    are completions that must pass and must fail. `excluded` says why a problem with an error of its own is
    left out; empty for a sound one.
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
class Program:
    """A program to judge; `source` holds VERDICT_MARK once. `language` is one of `languages.ADAPTERS`."""

    language: str
    source: str


def truncate(completion: str, stops: tuple[str, ...]) -> str:
    """`completion` up to the first of `stops`, wherever in it that is."""
    found = [at for stop in stops if (at := completion.find(stop)) >= 0]
    return completion[: min(found)] if found else completion


def program_of(problem: Problem, completion: str) -> Program:
    """The program that judges `completion`, which is cut at the problem's stops first."""
    body = truncate(completion, problem.stops)
    source = f"{problem.head}{problem.prompt}{body}{problem.suffix}{problem.tail}"
    return Program(problem.language, source)
