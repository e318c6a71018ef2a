"""The built-in problems: neutral texts, types and values that are rendered in every language.

data/problems.toml                texts, parameters, examples and tests, in no language
data/solutions/<language>.toml    a canonical and a wrong completion for each problem; a problem without them
                                  is not asked in that language
languages/<language>.py           renders prompt and tests in that language

The Vue problems are judged by mounting the finished component. Each is a file, data/vue/<name>.toml: `text`
(the task in one line), `prompt`, `stops`, `tail` (the rest of the component), `test` (runtime/src/vue.ts
defines what it may use), `canonical` and `wrong`.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eval_humaneval.problems.problem import VERDICT_MARK, Problem

DATA = Path(__file__).parents[1] / "data"

TEST_MARK = "// @acepilot:test"
"""The line between component and test, where runtime/src/vue-compile.ts splits them."""

Value = Any
"""A neutral value: bool, int, float, str, list, dict with text keys, or None for a missing optional."""


@dataclass(frozen=True)
class Type:
    """`int` (of 32 bits), `float`, `str` (ASCII), `bool`, `list[T]`, `dict[str, T]` or `optional[T]`. `item`
    is T, and None for the first four."""

    name: str
    item: "Type | None" = None


@dataclass(frozen=True)
class Param:
    name: str
    type: Type


@dataclass(frozen=True)
class Case:
    arguments: tuple[Value, ...]
    returns: Value


@dataclass(frozen=True)
class Spec:
    """A problem before it is rendered. Names are in snake_case, and `text` has parameters in backquotes. The
    prompt shows `examples`; the program runs `tests`."""

    name: str
    text: str
    params: tuple[Param, ...]
    returns: Type
    examples: tuple[Case, ...]
    tests: tuple[Case, ...]


@dataclass(frozen=True)
class Rendered:
    """A problem in one language: the parts of a `Problem` that the language adapter writes."""

    prompt: str
    stops: tuple[str, ...]
    tail: str


@dataclass(frozen=True)
class Solution:
    """Completions of a rendered prompt, in the form in which a model would return them."""

    canonical: str
    wrong: str


def parse_type(text: str) -> Type:
    """Parse a type of data/problems.toml. Raise ValueError."""
    if text in ("int", "float", "str", "bool"):
        return Type(text)
    match = re.fullmatch(r"(list|optional)\[(.+)]|dict\[str, (.+)]", text)
    if match is None:
        raise ValueError(
            f"`{text}` is not a type. Types: int, float, str, bool, list[T], dict[str, T], optional[T]."
        )
    return Type(match[1] or "dict", parse_type(match[2] or match[3]))


@cache
def specs() -> tuple[Spec, ...]:
    """Return all problems of data/problems.toml, in its order."""
    document = tomllib.loads((DATA / "problems.toml").read_text(encoding="utf-8"))
    return tuple(_spec(name, row) for name, row in document.items())


@cache
def solutions(language: str) -> dict[str, Solution]:
    """Return the solutions in `language` by problem; empty if it has no file. TypeScript shares JavaScript's
    solutions; its file holds those that differ."""
    shared = solutions("javascript") if language == "typescript" else {}
    path = DATA / "solutions" / f"{language}.toml"
    if not path.is_file():
        return shared
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return shared | {name: Solution(row["canonical"], row["wrong"]) for name, row in document.items()}


def _spec(name: str, row: dict[str, Any]) -> Spec:
    params = tuple(Param(key, parse_type(text)) for key, text in row["params"].items())
    count = len(params)
    # A case is a list of the arguments and the value to return. TOML has no null: a missing value is None.
    cases = tuple(Case(tuple(case[:count]), next(iter(case[count:]), None)) for case in row["cases"])
    shown = row.get("shown", 2)
    return Spec(name, row["text"], params, parse_type(row["returns"]), cases[:shown], cases)


@cache
def vue_problems() -> tuple[Problem, ...]:
    """Return all Vue problems, in the order of their names."""
    return tuple(
        _vue_problem(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted((DATA / "vue").glob("*.toml"))
    )


def _vue_problem(name: str, document: str) -> Problem:
    row = tomllib.loads(document)
    return Problem(
        id=f"builtin/vue/{name}",
        cluster=f"vue/{name}",
        language="vue",
        prompt=row["prompt"],
        stops=tuple(row["stops"]),
        tail=f"{row['tail']}\n{TEST_MARK}\n{row['test']}{VERDICT_MARK}\n",
        canonical=row["canonical"],
        wrong=row["wrong"],
    )
