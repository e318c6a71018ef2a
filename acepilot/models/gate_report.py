"""What the gate decided, as a file: written by `python -m eval_humaneval compare`, read by the registry."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acepilot.errors import ConfigError

GATE_FILE = "gate.json"
Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INFRASTRUCTURE"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JudgedModel(_Part):
    """A model as it was when it was judged."""

    name: str
    files: dict[str, str] = Field(
        description="sha256 by name inside the folder, manifest apart; empty when it was judged over HTTP."
    )
    run: str = Field(description="Folder of its results.")


class Comparison(_Part):
    """Candidate minus base, in points of 100, over one language or all. A point is one percent."""

    problems: int
    samples: int = Field(description="Per problem and side, the smaller of the two.")
    base: float = Field(description="Mean pass rate, 0 to 100.")
    candidate: float
    difference: float
    lower: float = Field(description="One-sided bound, wrong with the report's alpha; PASS rests on it.")
    upper: float = Field(description="The same from above; FAIL rests on it.")
    p_value: float = Field(description="One-sided, of a drop beyond `drop_points`.")
    p_adjusted: float = Field(description="Holm over languages; the pool's is its own.")
    margin: float = Field(description="PASS needs `lower` above minus this.")
    smallest_visible_drop: float = Field(
        description="In points: told from no drop, one-sided at 5 %, by a run of this size with power 0.8."
    )
    smallest_failed_drop: float = Field(
        description="In points: ends in FAIL with power 0.8; `drop_points`, Holm and alpha counted."
    )
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]


class GateReport(_Part):
    verdict: Verdict
    reasons: list[str] = Field(
        description="One sentence each, worst first; what to do where something is to be."
    )
    base: JudgedModel
    candidate: JudgedModel
    config_hash: str = Field(
        description="Of problems, prompts, stops, limits and sampling: equal on both sides."
    )
    sandbox: str
    alpha: float = Field(description="Of this look; where a second may follow, each has half of the total.")
    drop_points: float
    enlarged: bool = Field(description="Whether samples were added once, alpha having been split for that.")
    samples_to_decide: int | None = Field(
        description="Per problem, an estimate; null when decided, or when no number of samples would."
    )
    seed: int
    created: datetime
    git_commit: str | None
    pool: Comparison | None = Field(description="null when the runs could not be compared.")
    languages: dict[str, Comparison]


def read_gate_report(path: Path) -> GateReport:
    """`path` is the file or the folder that holds it. Raises ConfigError when it is no report."""
    file = path / GATE_FILE if path.is_dir() else path
    try:
        return GateReport.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}): `python -m eval_humaneval compare` writes it."
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is no gate report, or one of another version: compare again.\n{error}"
        ) from error
