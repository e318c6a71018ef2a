"""The built-in problems: one neutral text, its types and values, rendered in every language.

data/problems.toml                what to do, parameters, examples and tests, in no language
data/solutions/<language>.toml    per problem a canonical and a wrong completion; a problem without them is
                                  not asked in that language
languages/<language>.py           writes prompt and tests in that language
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"

Value = Any
"""A neutral value: bool, int, float, str, list, dict with text keys, or None for a missing optional."""


@dataclass(frozen=True)
class Type:
    """`int` (32 bits hold every value), `float`, `str` (ASCII), `bool`, `list[T]`, `dict[str, T]` or
    `optional[T]`; `item` is T, None for the first four."""

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
    """One problem in no language. Names are in snake_case; `text` is prose that names parameters in
    backquotes. `examples` are shown in the prompt, `tests` are run."""

    name: str
    text: str
    params: tuple[Param, ...]
    returns: Type
    examples: tuple[Case, ...]
    tests: tuple[Case, ...]


@dataclass(frozen=True)
class Rendered:
    """A problem in one language: the parts of `Problem` that its adapter writes."""

    prompt: str
    stops: tuple[str, ...]
    tail: str
    head: str = ""


@dataclass(frozen=True)
class Solution:
    """Completions of a rendered prompt, as a model would give them."""

    canonical: str
    wrong: str


def parse_type(text: str) -> Type:
    """Raises ValueError for what is no type."""
    if text in ("int", "float", "str", "bool"):
        return Type(text)
    match = re.fullmatch(r"(list|optional)\[(.+)]|dict\[str, (.+)]", text)
    if match is None:
        raise ValueError(f"`{text}` is no type: int, float, str, bool, list[T], dict[str, T], optional[T]")
    return Type(match[1] or "dict", parse_type(match[2] or match[3]))


@cache
def specs() -> tuple[Spec, ...]:
    """All problems of data/problems.toml, in its order."""
    document = tomllib.loads((DATA / "problems.toml").read_text(encoding="utf-8"))
    return tuple(_spec(name, row) for name, row in document.items())


@cache
def solutions(language: str) -> dict[str, Solution]:
    """By problem; empty where there is no file for `language`. TypeScript's file holds only what JavaScript's
    completions do not do in it."""
    shared = solutions("javascript") if language == "typescript" else {}
    path = DATA / "solutions" / f"{language}.toml"
    if not path.is_file():
        return shared
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return shared | {name: Solution(row["canonical"], row["wrong"]) for name, row in document.items()}


def _spec(name: str, row: dict[str, Any]) -> Spec:
    params = tuple(Param(key, parse_type(text)) for key, text in row["params"].items())
    cases = [_case(case, len(params)) for case in row["cases"]]
    shown = row.get("shown", 2)
    return Spec(name, row["text"], params, parse_type(row["returns"]), tuple(cases[:shown]), tuple(cases))


def _case(case: list[Value], count: int) -> Case:
    """A case is its arguments and then what is returned; nothing after the arguments means None."""
    return Case(tuple(case[:count]), case[count] if len(case) > count else None)
