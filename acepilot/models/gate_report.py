"""The gate's report as a file: `python -m eval_humaneval compare` writes it, and `promote` reads it."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from acepilot.errors import ConfigError
from acepilot.models.manifest import FilePart

GATE_FILE = "gate.json"
Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INFRASTRUCTURE"]


class JudgedModel(FilePart):
    """A model as it was when the gate judged it."""

    name: str
    files: dict[str, str] = Field(description="sha256 by name, without the manifest; empty if over HTTP.")
    run: str = Field(description="The folder of its results.")


class Comparison(FilePart):
    """Candidate minus base over one language or all languages, in points: one point is one percent."""

    problems: int
    samples: int = Field(description="Samples per problem, on the side that has fewer.")
    base: float = Field(description="Mean pass rate, 0 to 100.")
    candidate: float
    difference: float
    lower: float = Field(description="One-sided lower bound of `difference`, wrong with probability alpha.")
    upper: float = Field(description="One-sided upper bound of `difference`; FAIL needs it.")
    p_value: float = Field(description="One-sided p-value of a drop larger than `drop_points`.")
    p_adjusted: float = Field(description="Holm's correction of `p_value` over languages; the pool has none.")
    margin: float = Field(description="PASS needs `lower` to be above minus this.")
    smallest_visible_drop: float = Field(
        description="In points: the smallest drop that a run of this size detects (one-sided 5 %, power 0.8)."
    )
    smallest_failed_drop: float = Field(description="In points: a drop that fails here with power 0.8.")
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]


class GateReport(FilePart):
    """The verdict on a candidate compared with its base, and the figures behind it."""

    verdict: Verdict
    reasons: list[str] = Field(description="One sentence each, the worst first, with what to do.")
    base: JudgedModel
    candidate: JudgedModel
    config_hash: str = Field(description="Of problems, prompts, stops, limits, sampling: the same on both.")
    sandbox: str
    alpha: float = Field(description="Error probability of this look; of two looks, each has half.")
    drop_points: float
    enlarged: bool = Field(description="Whether this is the second look, after samples were added.")
    samples_to_decide: int | None = Field(description="Estimate per problem; null if more would not help.")
    seed: int
    created: datetime
    git_commit: str | None
    pool: Comparison | None = Field(description="null if the runs could not be compared.")
    languages: dict[str, Comparison]


def read_gate_report(path: Path) -> GateReport:
    """Read the report from a file or its folder. Raises ConfigError when it cannot be read."""
    file = path / GATE_FILE if path.is_dir() else path
    try:
        return GateReport.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}). `python -m eval_humaneval compare` writes a report."
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not a gate report of this version: compare again to write a new one.\n{error}"
        ) from error
