"""`python -m eval_humaneval`: run, selftest, compare, drift and problems; arguments.py describes them."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from acepilot.cli import program, text_console
from acepilot.models.manifest import write_atomically
from eval_humaneval import selftest
from eval_humaneval.arguments import parse, parse_margins
from eval_humaneval.drift import drift
from eval_humaneval.execution.judge_pool import JudgePool
from eval_humaneval.figures.report import GATE_REPORT_FILE, REPORT_FILE
from eval_humaneval.figures.table import print_drift, print_gate, print_results, print_selftest
from eval_humaneval.gate.compare import compare
from eval_humaneval.gate.decision import EXIT_CODES, NOT_JUDGED
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.problems import problem_sets
from eval_humaneval.run import run
from eval_humaneval.settings import EvalSettings


@program(error_code=NOT_JUDGED, resumes=True)
def main() -> int:
    """Run a command. Results go to standard output, progress to standard error."""
    given = parse(sys.argv[1:])
    return _COMMANDS[given.pop("command")](given, text_console(stderr=True), text_console())


def _run(given: dict[str, Any], progress: Console, out: Console) -> int:
    as_json = given.pop("json")
    given["server_url"] = given["server_url"] or ""  # not from ACEPILOT_SERVER_URL, which is the editor's
    results = run(EvalSettings.load(given), progress)
    folder = Path(results.model.run)
    if as_json:
        print(results.model_dump_json(indent=2))
    else:
        print_results(results, out)
        out.print(f"report: {folder / REPORT_FILE}")
    return 0


def _selftest(given: dict[str, Any], progress: Console, out: Console) -> int:
    settings = EvalSettings.load({name: given[name] for name in ("problems", "languages", "unsafe")})
    problem_set = problem_sets.load(settings.problems, settings.languages)
    with JudgePool(unsafe=settings.unsafe) as judge_pool:
        result = asyncio.run(selftest.check_all(problem_set, judge_pool, progress))
        result_json = result.as_json() | {"sandbox": judge_pool.sandbox}
    if given["json"]:
        _write(given["json"], json.dumps(result_json, indent=2) + "\n")
    print_selftest(result, out)
    return 1 if result.failed else 0


def _problems(given: dict[str, Any], progress: Console, out: Console) -> int:
    settings = EvalSettings.load({name: given[name] for name in ("problems", "languages")})
    problems = problem_sets.load(settings.problems, settings.languages).problems
    rows = [
        {"task_id": one.id, "prompt": one.prompt, "canonical_solution": one.canonical or ""}
        for one in problems
    ]
    _write(given["out"], "".join(json.dumps(row) + "\n" for row in rows))
    out.print(f"{given['out']}: {len(rows)} problems")
    return 0


def _compare(given: dict[str, Any], progress: Console, out: Console) -> int:
    margins = parse_margins(given.pop("margin"))
    options = GateOptions(
        pool_margin=given.pop("pool_margin"),
        language_margin=margins.pop("", None),
        language_margins=margins,
        drop_points=given.pop("drop_points"),
        alpha=given.pop("alpha"),
        enlarge=not given.pop("no_enlarge"),
    )
    base, candidate, to, as_json = (given.pop(name) for name in ("base", "candidate", "to", "json"))
    settings = EvalSettings.load(given)
    report, folder = compare(base, candidate, settings, options, Path(to) if to else None, progress)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        print_gate(report, out)
        out.print(f"report: {folder / GATE_REPORT_FILE}")
    return EXIT_CODES[report.verdict]


def _drift(given: dict[str, Any], progress: Console, out: Console) -> int:
    base, tuned, texts, target = (given.pop(name) for name in ("base", "tuned", "texts", "json"))
    found = drift(base, tuned, Path(texts).expanduser(), EvalSettings.load(given), progress)
    if target:
        _write(target, json.dumps({name: one.model_dump() for name, one in found.items()}, indent=2) + "\n")
    print_drift(base, tuned, found, out)
    return 0


def _write(target: str, text: str) -> None:
    path = Path(target).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


_COMMANDS = {"run": _run, "selftest": _selftest, "compare": _compare, "drift": _drift, "problems": _problems}
