"""Write report.html of a run and gate.html of a comparison: single pages without scripts or other files.

They show bars with 95 % intervals by language, and each failed or flipped problem.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from acepilot.models.gate_report import GateReport
from acepilot.models.manifest import write_atomically
from eval_humaneval.figures.table import label
from eval_humaneval.results import Interval, Results, Sample, by_problem, count_passed

REPORT_FILE = "report.html"
GATE_REPORT_FILE = "gate.html"
_BAR_PX, _GAP_PX, _LEFT_PX, _PLOT_PX = 14, 12, 110, 640


@dataclass(frozen=True)
class Bar:
    """One bar of a plot, in pixels; `low` and `high` are the ends of its interval."""

    kind: str
    y: int
    width: float
    low: float
    high: float
    value: Interval


@dataclass(frozen=True)
class Row:
    label: str
    y: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Plot:
    rows: tuple[Row, ...]
    height: int
    ticks: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Flip:
    """A problem that one side solved in most samples and the other did not."""

    problem: str
    lost: bool
    base: str
    candidate: str
    diff: tuple[str, ...]
    detail: str


def write_report(results: Results, samples: Sequence[Sample], folder: Path) -> None:
    """Write report.html; `samples` are all samples of the run."""
    page = _template("run.html").render(
        results=results,
        label=label,
        plot=plot({"base": results}),
        failures=_failures(samples),
        k=min(results.pool.pass_at),
    )
    write_atomically(folder / REPORT_FILE, page)


def write_gate_report(
    report: GateReport,
    results: tuple[Results, Results],
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    folder: Path,
) -> None:
    """Write gate.html; `results` and `samples` are those of base and candidate."""
    page = _template("gate.html").render(
        report=report,
        label=label,
        plot=plot({"base": results[0], "candidate": results[1]}),
        flips=flips(*samples),
    )
    write_atomically(folder / GATE_REPORT_FILE, page)


def plot(sides: Mapping[str, Results]) -> Plot:
    """Plot pass@1 by language and over all, one bar per side."""
    first = next(iter(sides.values()))
    rows: list[Row] = []
    y = 0
    for name in [*first.languages, "all"]:
        bars: list[Bar] = []
        top = y
        for kind, results in sides.items():
            score = results.pool if name == "all" else results.languages.get(name)
            if score is not None:
                value = score.pass_at[min(score.pass_at)]
                low, high = (_LEFT_PX + end / 100 * _PLOT_PX for end in (value.low, value.high))
                bars.append(Bar(kind, y, value.value / 100 * _PLOT_PX, low, high, value))
                y += _BAR_PX
        rows.append(Row("All" if name == "all" else label(name), (top + y) // 2 + 4, tuple(bars)))
        y += _GAP_PX
    ticks = tuple((points, _LEFT_PX + points / 100 * _PLOT_PX) for points in range(0, 101, 20))
    return Plot(tuple(rows), y + 18, ticks)


def flips(base: Sequence[Sample], candidate: Sequence[Sample]) -> list[Flip]:
    """Return the problems that the candidate lost, then those that it gained, each ordered by name."""
    before, after = by_problem(base), by_problem(candidate)
    found: list[Flip] = []
    for key in sorted(before.keys() & after.keys()):
        was, now = before[key], after[key]
        if _mostly_passes(was) == _mostly_passes(now):
            continue
        lost = _mostly_passes(was)
        old, new = _typical(was, passed=lost), _typical(now, passed=not lost)
        diff = difflib.unified_diff(
            old.completion.splitlines(), new.completion.splitlines(), "base", "candidate", lineterm="", n=99
        )
        failed = new if lost else old
        detail = f"{failed.outcome}: {failed.detail}"
        base_count, candidate_count = (f"{count_passed(side)} of {len(side)}" for side in (was, now))
        found.append(Flip(key[0], lost, base_count, candidate_count, tuple(diff)[2:], detail))
    return sorted(found, key=lambda flip: not flip.lost)


def _failures(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first failing sample of each problem that has one."""
    failed = by_problem(sample for sample in samples if sample.outcome != "passed")
    return [failed[key][0] for key in sorted(failed)]


def _mostly_passes(samples: Sequence[Sample]) -> bool:
    return count_passed(samples) * 2 > len(samples)


def _typical(samples: Sequence[Sample], *, passed: bool) -> Sample:
    """Return the first sample with that result; an even split may have none, then the first of all."""
    return next((one for one in samples if (one.outcome == "passed") == passed), samples[0])


@cache
def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(name)
