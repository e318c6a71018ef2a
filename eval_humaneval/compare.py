"""The gate as a command: two runs or models -> verdict, adding samples once where that could decide it."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from acepilot.gate_report import GATE_FILE, GateReport
from acepilot.manifest import write_atomically
from acepilot.provenance import git_commit
from acepilot.settings import home
from eval_humaneval.gate import GateOptions, judge_runs
from eval_humaneval.report import write_gate_report
from eval_humaneval.results import RESULTS_FILE, Results, read_results, read_samples
from eval_humaneval.run import run
from eval_humaneval.settings import EvalSettings

MOST_SAMPLES = 50
"""Per problem, of the automatic enlargement: beyond it a person should decide whether that is worth it."""


def compare(
    base: str,
    candidate: str,
    settings: EvalSettings,
    options: GateOptions,
    to: Path | None,
    console: Console,
) -> tuple[GateReport, Path]:
    """`base` and `candidate` are runs (a folder, or its results.json) or models, which are run first.

    Returns the report and the folder that it was written to. Raises ConfigError.
    """
    sides = [_results_of(side, settings, console) for side in (base, candidate)]
    report = judge_runs(*sides, options, created=datetime.now(UTC), git_commit=git_commit())
    samples = report.samples_to_decide
    if options.enlarge and samples is not None and _can_grow(sides, samples):
        console.print(f"Inconclusive: adding samples once, up to {samples} a problem.", highlight=False)
        sides = [_enlarged(side, samples, console) for side in sides]
        report = judge_runs(*sides, options, created=datetime.now(UTC), git_commit=git_commit(), first=report)
    folder = to or home() / "gates" / f"{sides[0].model.name}-{sides[1].model.name}-{report.config_hash[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    base_samples, candidate_samples = (read_samples(Path(side.model.run)) for side in sides)
    write_gate_report(report, (sides[0], sides[1]), (base_samples, candidate_samples), folder)
    write_atomically(folder / GATE_FILE, report.model_dump_json(indent=2) + "\n")
    return report, folder


def _results_of(side: str, settings: EvalSettings, console: Console) -> Results:
    path = Path(side).expanduser()
    if path.suffix == ".json" or (path / RESULTS_FILE).is_file():
        return read_results(path)
    return run(settings.model_copy(update={"model": side, "to": None}), console)


def _can_grow(sides: list[Results], samples: int) -> bool:
    """Greedy samples would only repeat themselves."""
    return samples <= MOST_SAMPLES and all(
        side.config.temperature > 0 and samples > side.config.samples for side in sides
    )


def _enlarged(side: Results, samples: int, console: Console) -> Results:
    """The same run with more samples: those it has are kept. A model that has changed since makes another."""
    return run(EvalSettings.load(side.settings | {"samples": samples}), console)
