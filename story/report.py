"""The story's last step: write report.json with every figure, and report.html. See docs/story.md.

findings.py turns the figures into sentences.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from acepilot.models.gate_report import GateReport, read_gate_report
from acepilot.models.manifest import read_manifest, write_atomically
from acepilot.models.provenance import git_commit
from eval_humaneval.figures.report import plot
from eval_humaneval.figures.table import label
from eval_humaneval.results import Results, read_results, read_samples
from story.difference import MEASURES, Difference, differences
from story.findings import findings
from story.programs import ROOT
from story.sizes import Size

SIDES = ("base", "eager", "careful")
TABLES = ("problems", "vue", "others")
TUNED = SIDES[1:]
WIDTH, HEIGHT = 720, 140  # of a loss curve, in SVG units
SMOOTHED_STEPS = 10


def write(folder: Path, size: Size, steps: Sequence[str]) -> None:
    """Write report.json and report.html in `folder` from the results of all other steps."""
    results = {
        table: {side: read_results(folder / "tables" / side / table) for side in SIDES} for table in TABLES
    }
    differ = {table: {side: _differ(folder, side, table) for side in TUNED} for table in ("vue", "others")}
    gates = {side: read_gate_report(folder / "gates" / side) for side in TUNED}
    attempts = {side: _json(folder / "attempts" / f"{side}.json") for side in TUNED}
    choice = _json(folder / "choice.json")
    seen = {side: _json(folder / "seen" / f"{side}.json") for side in ("base", "careful")}
    taken = [_taken(folder, name) for name in steps]
    runs = {
        run.name: _losses(run)
        for run in sorted((folder / "runs").iterdir())
        if (run / "losses.jsonl").is_file()
    }
    sentences = findings(gates, attempts, differ, choice)
    document = {
        "size": size.name,
        "base": size.base,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "findings": sentences,
        "tables": {
            table: {side: _figures(one) for side, one in sides.items()} for table, sides in results.items()
        },
        "differences": {
            table: {
                side: {
                    measure: {name: asdict(one) for name, one in found.items()}
                    for measure, found in measures.items()
                }
                for side, measures in sides.items()
            }
            for table, sides in differ.items()
        },
        "gates": {side: gate.model_dump(mode="json") for side, gate in gates.items()},
        "attempts": attempts,
        "choice": choice,
        "losses": runs,
        "held_out": {side: _held_out(folder, side) for side in TUNED},
        "seen": seen,
        "steps": taken,
        "seconds": sum(one["seconds"] for one in taken),
        "tokens_generated": sum(
            sample.tokens
            for table in TABLES
            for side in SIDES
            for sample in read_samples(folder / "tables" / side / table)
        ),
    }
    write_atomically(folder / "report.json", json.dumps(document, indent=2) + "\n")
    _page(folder, document, results, gates, differ)


def _page(
    folder: Path,
    document: dict[str, Any],
    results: dict[str, dict[str, Results]],
    gates: dict[str, GateReport],
    differ: dict[str, dict[str, dict[str, dict[str, Difference]]]],
) -> None:
    templates = [Path(__file__).parent, ROOT / "eval_humaneval" / "figures" / "templates"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    page = environment.get_template("report.html").render(
        story=document,
        results=results,
        gates=gates,
        differ=differ,
        label=label,
        plots={
            side: plot({"base": results["problems"]["base"], "candidate": results["problems"][side]})
            for side in TUNED
        },
        curves={name: curve([row["loss"] for row in rows]) for name, rows in document["losses"].items()},
        sides=SIDES,
    )
    write_atomically(folder / "report.html", page)


def _differ(folder: Path, side: str, table: str) -> dict[str, dict[str, Difference]]:
    """Return the differences of one table by measure and language."""
    base, tuned = (folder / "tables" / name / table for name in ("base", side))
    return {measure: differences(base, tuned, measure) for measure in MEASURES}


def _figures(results: Results) -> dict[str, Any]:
    """Return a table's figures by language and for `all`, each with its interval."""
    groups = {**results.languages, **results.hole_parts, "all": results.pool}
    return {
        "config": results.config.model_dump(mode="json"),
        "not_asked": {
            **results.missing,
            **dict.fromkeys(results.selftest_failed, "its own solution fails"),
        },
        "excluded": len(results.excluded),
        "languages": {name: score.model_dump(mode="json") for name, score in groups.items()},
        "cost": results.cost.model_dump(mode="json"),
    }


def _held_out(folder: Path, side: str) -> dict[str, Any]:
    tuning = read_manifest(folder / "home" / "models" / f"story-{side}").tuning
    if tuning is None:
        return {}
    fields = {"method", "alpha", "step", "tokens", "heldout_loss_before", "heldout_loss_after"}
    return tuning.model_dump(mode="json", include=fields)


def _losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "losses.jsonl").read_text(encoding="utf-8").splitlines()]


def _taken(folder: Path, name: str) -> dict[str, Any]:
    record = _json(folder / "state" / f"{name.replace('/', '-')}.json")
    return {"name": name, **{key: record[key] for key in ("began", "seconds", "git_commit", "exit_codes")}}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Curve:
    """A polyline of WIDTH by HEIGHT. `first` and `last` are smoothed losses in nats."""

    points: str
    first: float
    last: float
    steps: int


def curve(losses: Sequence[float]) -> Curve:
    """Smooth each loss over the last SMOOTHED_STEPS steps, since one batch's loss is noisy."""
    smooth = [
        sum(losses[max(0, at - SMOOTHED_STEPS + 1) : at + 1]) / min(at + 1, SMOOTHED_STEPS)
        for at in range(len(losses))
    ]
    low, high = min(smooth), max(smooth)
    spread = (high - low) or 1.0
    across = WIDTH / max(len(smooth) - 1, 1)
    points = " ".join(
        f"{at * across:.1f},{HEIGHT - (loss - low) / spread * HEIGHT:.1f}" for at, loss in enumerate(smooth)
    )
    return Curve(points, smooth[0], smooth[-1], len(smooth))
