"""The files of a run: `samples.jsonl` grows while it runs, `results.json` is written at its end."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field

from acepilot.errors import ConfigError
from acepilot.models.gate_report import JudgedModel
from acepilot.models.manifest import FilePart

RESULTS_FILE = "results.json"
SAMPLES_FILE = "samples.jsonl"

Outcome = Literal["passed", "failed", "compile_error", "timeout", "infrastructure"]
"""`timeout`: the CPU or wall time was used up. `infrastructure`: judging failed, not the model."""


class HoleMeasures(FilePart):
    """How close a completion is to the true text. `parses` is null if the original does not parse."""

    kind: Literal["line", "block", "expression"]
    block: str = Field(description="Vue: template, script or style; otherwise empty.")
    exact_match: bool
    edit_similarity: float = Field(description="0 to 1.")
    parses: bool | None
    log_likelihood: float | None = Field(description="Of the true text, nats per token; null: no scores.")


class Sample(FilePart):
    """One completion and its judgement; a line of samples.jsonl."""

    problem: str
    cluster: str
    language: str
    index: int = Field(description="Number of the sample within its problem, from 0.")
    completion: str = Field(description="Cut at the problem's stops.")
    outcome: Outcome
    detail: str = Field(description="The end of the program's output, or why it was stopped.")
    truncated: bool = Field(description="max_tokens were used up before a stop came.")
    tokens: int
    seconds: float = Field(description="Wall time of generation.")
    hole: HoleMeasures | None = None


class EvalConfig(FilePart):
    """Everything that must be equal on both sides of a comparison; seeds may differ."""

    problem_sets: list[str]
    problems_hash: str = Field(description="Over prompts, suffixes, stops and tests of all problems.")
    languages: list[str]
    samples: int
    temperature: float
    top_p: float
    max_tokens: int


class Interval(FilePart):
    """Points of 100 with a two-sided 95 % interval, clustered by problem."""

    value: float
    low: float
    high: float


class LanguageScore(FilePart):
    problems: int
    samples: int
    pass_at: dict[int, Interval] = Field(description="By k; unbiased.")
    timeout_rate: float = Field(description="Rates are 0 to 1, of samples.")
    compile_error_rate: float
    truncated_rate: float
    holes: dict[str, Interval] = Field(
        default={},
        description="Hole filling: exact_match, edit_similarity, parses in points; log_likelihood in nats.",
    )


class ProblemScore(FilePart):
    id: str
    cluster: str
    language: str
    samples: int
    passed: int


class Cost(FilePart):
    seconds: float
    generation_seconds: float
    execution_cpu_seconds: float
    tokens: int
    tokens_per_s: float
    programs_run: int
    programs_cached: int
    samples_resumed: int = Field(description="From an earlier start of the run; their cost is not counted.")


class Results(FilePart):
    schema_version: Literal[1] = 1
    model: JudgedModel
    engine: str
    settings: dict[str, Any] = Field(description="Those of `run`: enough to run again with more samples.")
    config: EvalConfig
    config_hash: str
    sandbox: str = Field(description="Name of the sandbox level.")
    selftest_failed: list[str] = Field(description="Problems left out: their own solution failed here.")
    missing: dict[str, str] = Field(description="Languages left out, and how to install their tools.")
    excluded: dict[str, str] = Field(description="Problems left out, and why.")
    created: datetime
    git_commit: str | None
    versions: dict[str, str] = Field(description="Of Python, of libraries and of each language's tools.")
    cost: Cost
    languages: dict[str, LanguageScore]
    pool: LanguageScore
    hole_parts: dict[str, LanguageScore] = Field(
        default={}, description="Hole filling: the same samples by kind of hole, and by Vue block."
    )
    problems: list[ProblemScore]


def read_results(path: Path) -> Results:
    """Read the results of a run's folder or of its results.json. Raise ConfigError."""
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        return Results.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}): `python -m eval_humaneval run` writes it at its end."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{file} is damaged, or of another version of Acepilot: run again.\n{error}"
        ) from error


def read_samples(folder: Path) -> list[Sample]:
    """Read the run's samples.jsonl, without the half line that a killed run may have left. The last line of a
    sample counts, because unjudged samples are judged again. Raise ConfigError."""
    path = folder / SAMPLES_FILE
    if not path.is_file():
        return []
    found: dict[tuple[str, int], Sample] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        for line in filter(None, lines[:-1]):
            sample = Sample.model_validate_json(line)
            found[sample.problem, sample.index] = sample
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): make it readable, or run again with another --to."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged, or of another version of Acepilot: remove it and run again."
        ) from error
    return list(found.values())


def open_for_append(path: Path) -> IO[str]:
    """Open `path` to append whole lines, after removing a half line that a killed run may have left."""
    if path.is_file():
        data = path.read_bytes()
        complete = data.rfind(b"\n") + 1
        if complete < len(data):
            path.write_bytes(data[:complete])
    return path.open("a", encoding="utf-8")


def by_problem(samples: Iterable[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """Group `samples` by the id and language of their problem, in the order of the first samples."""
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.problem, sample.language].append(sample)
    return groups


def count_passed(samples: Iterable[Sample]) -> int:
    return sum(sample.outcome == "passed" for sample in samples)
