"""What `promote` demands of a gate report beyond its PASS: [promotion] of ACEPILOT_HOME/acepilot.toml.

The gate takes the margins and the alpha that it is given, however wide; the owner of the registry decides
here which of them count. The defaults are the gate's own, or as wide as the built-in problems need.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from acepilot.models.gate_report import GateReport
from acepilot.settings import CONFIG_NAME, ProgramSettings, home

POOL = "all languages together"

CLOCK_SLACK = timedelta(days=1)
"""A report may be this far in the future: the clocks of two machines differ, and so may their time zones."""


class PromotionPolicy(ProgramSettings):
    """Limits for a report. Flags and environment variables cannot change them: only the file can."""

    table: ClassVar[str] = "promotion"

    language_margin: float = Field(25, gt=0, le=100, description="largest margin of a language, in points")
    pool_margin: float | None = Field(
        None,
        gt=0,
        le=100,
        description="largest margin of several languages together, in points; default: the one of a "
        "language, divided by the square root of their number",
    )
    alpha: float = Field(0.05, gt=0, lt=0.5, description="largest alpha of a look")
    drop_points: float = Field(
        1.0, ge=0, lt=100, description="largest drop that is not yet a FAIL, in points"
    )
    problems: int = Field(20, ge=1, le=1_000_000, description="fewest problems in each language")
    samples: int = Field(1, ge=1, le=1_000_000, description="fewest samples of each problem")
    max_age_days: int = Field(90, ge=1, le=36_500, description="greatest age of the report, in days")
    sandboxes: tuple[str, ...] = Field(
        ("bubblewrap+seccomp", "bubblewrap", "none"),
        description="sandboxes whose verdicts count; `none` is filling holes, which runs no program",
    )
    problem_sets: tuple[str, ...] = Field((), description="problem sets that must have been asked")
    languages: tuple[str, ...] = Field((), description="languages that must have been asked")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = super().settings_customise_sources(
            settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
        )
        return tuple(source for source in sources if source is not env_settings)

    def summary(self) -> str:
        """Return the demands as a sentence."""
        asked = ", ".join((*self.problem_sets, *self.languages))
        over_all = f"{self.pool_margin:g}" if self.pool_margin else "that divided by the root of their number"
        return (
            f"A report must have margins of at most {self.language_margin:g} points in a language and "
            f"{over_all} over all, alpha at most {self.alpha:g}, drop points at most {self.drop_points:g}, "
            f"at least {self.problems} problems in each language with {self.samples} samples, be at most "
            f"{self.max_age_days} days old, and come from the sandbox "
            f"{' or '.join(self.sandboxes)}{f'; it must cover {asked}' if asked else ''}."
        )

    def objections(self, report: GateReport) -> list[str]:
        """Return what the report, a PASS, lacks: one sentence each, with what to do."""
        found = [*self._about_figures(report), *self._about_origin(report)]
        advice = f"Compare again, or change [{self.table}] in {home() / CONFIG_NAME}."
        return [f"{sentence} {advice}" for sentence in found]

    def _about_figures(self, report: GateReport) -> Iterator[str]:
        pool = [(POOL, report.pool, self._largest_pool_margin(len(report.languages)))] if report.pool else []
        for name, row, largest in [
            *((name, row, self.language_margin) for name, row in report.languages.items()),
            *pool,
        ]:
            if row.margin > largest:
                yield f"The margin of {name} is {row.margin:g} points; at most {largest:g} count."
            if row.problems < self.problems:
                yield f"{name} has {row.problems} problems; at least {self.problems} are demanded."
            if row.samples < self.samples:
                yield f"{name} has {row.samples} samples a problem; at least {self.samples} are demanded."
        if report.alpha > self.alpha:
            yield f"The report's alpha is {report.alpha:g}; at most {self.alpha:g} counts."
        if report.drop_points > self.drop_points:
            yield (
                f"Only drops beyond {report.drop_points:g} points fail in the report; at most "
                f"{self.drop_points:g} are allowed."
            )

    def _largest_pool_margin(self, languages: int) -> float:
        """Return the limit for the pool: with the problems of all languages, it shows a smaller margin."""
        if languages <= 1 or self.pool_margin is None:
            return self.language_margin / max(1, languages) ** 0.5
        return self.pool_margin

    def _about_origin(self, report: GateReport) -> Iterator[str]:
        if report.sandbox not in self.sandboxes:
            yield (
                f"The programs ran in the sandbox {report.sandbox}, where a program could change its own "
                f"verdict; {' or '.join(self.sandboxes)} counts."
            )
        age = datetime.now(UTC) - report.created
        if age > timedelta(days=self.max_age_days):
            yield f"The report is {age.days} days old; at most {self.max_age_days} count."
        if age < -CLOCK_SLACK:
            yield f"The report is of {report.created:%Y-%m-%d}, which is in the future: check the clocks."
        for what, demanded, asked in (
            ("problem set", self.problem_sets, report.problem_sets),
            ("language", self.languages, report.languages),
        ):
            for name in demanded:
                if name not in asked:
                    yield f"The {what} {name} is demanded, and was not asked."
