"""The gate as a command: judge two runs or models, and add samples once if that could decide."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from acepilot.corpus import canonical_hash
from acepilot.errors import ConfigError
from acepilot.models.gate_report import GATE_FILE, GateReport
from acepilot.models.manifest import write_atomically
from acepilot.models.provenance import git_commit
from acepilot.models.registry import CURRENT, find_registered
from acepilot.models.starter import STARTERS
from acepilot.settings import home
from eval_humaneval.figures.report import write_gate_report
from eval_humaneval.gate.decision import judge_runs
from eval_humaneval.gate.options import MAX_SAMPLES, GateOptions
from eval_humaneval.results import RESULTS_FILE, Results, Sample, read_results, read_samples
from eval_humaneval.run import run
from eval_humaneval.settings import EvalSettings


def compare(
    base: str, candidate: str, settings: EvalSettings, options: GateOptions, to: Path | None, console: Console
) -> tuple[GateReport, Path]:
    """Compare two runs (folders, or their results.json) or models, which are run first. Return the report and
    the folder that it was written to. Raise ConfigError."""
    sides = [_results_of(side, settings, console) for side in (base, candidate)]
    report = judge_runs(sides[0], sides[1], options, created=datetime.now(UTC), git_commit=git_commit())
    samples = report.samples_to_decide
    if options.enlarge and samples is not None and _can_grow(sides, samples):
        console.print(f"Inconclusive: adding samples once, up to {samples} per problem.")
        sides = [_enlarged(side, samples, console) for side in sides]
        report = judge_runs(
            sides[0], sides[1], options, created=datetime.now(UTC), git_commit=git_commit(), first=report
        )
    # Two models may share a name, but not the hash of their files.
    compared = canonical_hash([report.config_hash, report.base.files, report.candidate.files])[:12]
    folder = to or home() / "gates" / f"{report.base.name}-{report.candidate.name}-{compared}"
    folder.mkdir(parents=True, exist_ok=True)
    base_samples, candidate_samples = map(_samples_of, sides)
    write_gate_report(report, (sides[0], sides[1]), (base_samples, candidate_samples), folder)
    write_atomically(folder / GATE_FILE, report.model_dump_json(indent=2) + "\n")
    return report, folder


def _results_of(side: str, settings: EvalSettings, console: Console) -> Results:
    path = Path(side).expanduser()
    # A stranger's folder in the working directory may have a model's name.
    is_name = side == CURRENT or side in STARTERS or find_registered(side) is not None
    if not is_name and (path.suffix == ".json" or (path / RESULTS_FILE).is_file()):
        results = read_results(path)
        folder = (path if path.is_dir() else path.parent).resolve()
        # The folder may have been moved, or copied from another machine.
        return results.model_copy(update={"model": results.model.model_copy(update={"run": str(folder)})})
    # Not over HTTP: a server may answer with one model, whatever model the request names.
    return run(settings.model_copy(update={"model": side, "to": None, "server_url": None}), console)


def _samples_of(side: Results) -> list[Sample]:
    """Return the samples of the run's figures; the folder may hold more, of a larger run that was stopped."""
    return [one for one in read_samples(Path(side.model.run)) if one.index < side.config.samples]


def _can_grow(sides: list[Results], samples: int) -> bool:
    """Return True if both runs can have `samples` per problem; more greedy samples would be equal."""
    return samples <= MAX_SAMPLES and all(
        side.config.temperature > 0 and samples > side.config.samples for side in sides
    )


def _enlarged(side: Results, samples: int, console: Console) -> Results:
    """Resume the run with more samples. Raise ConfigError if its model has changed. The settings are those in
    results.json alone, without environment variables and acepilot.toml."""
    try:
        settings = EvalSettings(**dict[str, Any](side.settings | {"samples": samples}))
    except ValidationError as error:
        raise ConfigError(
            f"The settings in {side.model.run} are of another version of Acepilot: run it again."
        ) from error
    larger = run(settings, console)
    if larger.model.files != side.model.files:
        raise ConfigError(
            f"{side.model.name} has changed since {side.model.run} was made: run it again, then compare."
        )
    return larger
