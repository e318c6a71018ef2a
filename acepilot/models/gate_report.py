"""The gate's report as a file: `python -m eval_humaneval compare` writes it, and `promote` reads it."""

from itertools import accumulate
from math import log2
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from acepilot.errors import ConfigError
from acepilot.languages import LANGUAGES
from acepilot.models.manifest import FilePart

GATE_FILE = "gate.json"
ROUNDING = 1e-6
"""Points. Sums of floating-point numbers differ by much less than this, and no verdict hangs on it."""

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INFRASTRUCTURE"]


class JudgedModel(FilePart):
    """A model as it was when the gate judged it."""

    name: str
    files: dict[str, str] = Field(description="sha256 by name, without the manifest; empty if over HTTP.")
    run: str = Field(description="The folder of its results.")


MAX_PROBLEMS = 1_000_000
MAX_SAMPLES = 1_000_000
P_SLACK = 0.01
"""The bootstrap has finitely many resamples, so a bound and its p-value agree only about this closely."""

Rate = Annotated[float, Field(ge=0, le=100)]
Points = Annotated[float, Field(ge=-100 - ROUNDING, le=100 + ROUNDING)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Figures(FilePart):
    """A part of the report with figures. None of them may be NaN or infinite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Comparison(Figures):
    """Candidate minus base over one language or all languages, in points: one point is one percent."""

    problems: int = Field(ge=0, le=MAX_PROBLEMS)
    samples: int = Field(ge=0, le=MAX_SAMPLES, description="Samples per problem, on the side that has fewer.")
    base: Rate = Field(description="Mean pass rate, 0 to 100.")
    candidate: Rate
    difference: Points
    lower: Points = Field(description="One-sided lower bound of `difference`, wrong with probability alpha.")
    upper: Points = Field(description="One-sided upper bound of `difference`; FAIL needs it.")
    p_value: Probability = Field(description="One-sided p-value of a drop larger than `drop_points`.")
    p_adjusted: Probability = Field(
        description="Holm's correction of `p_value` over languages; the pool has none."
    )
    margin: float = Field(gt=0, description="PASS needs `lower` to be above minus this.")
    smallest_visible_drop: float = Field(
        ge=0,
        description="In points: the smallest drop that this run detects (one-sided 5 %, power 0.8).",
    )
    smallest_failed_drop: float = Field(ge=0, description="In points: a drop that fails here with power 0.8.")
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]

    def bears_out_pass(self, alpha: float, drop_points: float) -> bool:
        """Return whether the figures agree with each other and amount to a PASS."""
        return (
            self.verdict == "PASS"
            and self.problems > 0
            and self.samples > 0
            and self.lower > -self.margin
            and self.p_adjusted > alpha
            and self.p_adjusted >= self.p_value - ROUNDING
            and abs(self.candidate - self.base - self.difference) <= ROUNDING
            and self.lower <= self.difference + ROUNDING
            and self.difference <= self.upper + ROUNDING
            and (self.upper >= -drop_points - ROUNDING or self._has_small_p(alpha))
        )

    def _has_small_p(self, alpha: float) -> bool:
        """Return whether the p-value is as small as it must be when `upper` lies below minus `drop_points`.

        With few changed problems it is not: McNemar's test then gives 0.5 to the power of their number.
        """
        changed = round(-log2(self.p_value)) if self.p_value > 0 else 0
        return self.p_value <= alpha + P_SLACK or abs(self.p_value - 0.5**changed) <= ROUNDING


class GateReport(Figures):
    """The verdict on a candidate compared with its base, and the figures behind it."""

    verdict: Verdict
    reasons: list[str] = Field(description="One sentence each, the worst first, with what to do.")
    base: JudgedModel
    candidate: JudgedModel
    config_hash: str = Field(description="Of problems, prompts, stops, limits, sampling: the same on both.")
    problem_sets: list[str] = Field(default=[], description="What was asked; empty in older reports.")
    sandbox: str
    alpha: float = Field(
        gt=0, le=1, description="Error probability of this look; of two looks, each has half."
    )
    drop_points: float = Field(ge=0)
    enlarged: bool = Field(description="Whether this is the second look, after samples were added.")
    samples_to_decide: int | None = Field(
        ge=1, le=MAX_SAMPLES, description="Estimate per problem; null if more would not help."
    )
    seed: int = Field(ge=0, lt=2**63)
    created: AwareDatetime
    git_commit: str | None
    pool: Comparison | None = Field(description="null if the runs could not be compared.")
    languages: dict[str, Comparison]

    def bears_out_pass(self) -> bool:
        """Return whether the report's own figures amount to a PASS, of every language and of the pool."""
        if self.pool is None or not self.languages:
            return False
        rows = self.languages.values()
        problems = sum(row.problems for row in rows)
        means = [
            (self.pool.base, sum(row.base * row.problems for row in rows)),
            (self.pool.candidate, sum(row.candidate * row.problems for row in rows)),
        ]
        return (
            all(row.bears_out_pass(self.alpha, self.drop_points) for row in (*rows, self.pool))
            and all(
                name in LANGUAGES and row.samples == self.pool.samples for name, row in self.languages.items()
            )
            and self.pool.problems == problems
            and self._has_holms_p_values(self.pool)
            and all(abs(mean * problems - total) <= ROUNDING * problems for mean, total in means)
        )

    def _has_holms_p_values(self, pool: Comparison) -> bool:
        """Return whether each `p_adjusted` follows from all `p_value`, by Holm's method."""
        ranked = sorted(self.languages.values(), key=lambda row: row.p_value)
        steps = (min(1.0, (len(ranked) - rank) * row.p_value) for rank, row in enumerate(ranked))
        pairs = [*zip(ranked, accumulate(steps, max), strict=True), (pool, pool.p_value)]
        return all(abs(row.p_adjusted - expected) <= ROUNDING for row, expected in pairs)


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
