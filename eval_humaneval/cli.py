"""The command line of `python -m eval_humaneval`: run, selftest, compare, drift and problems."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NoReturn, cast

from rich.console import Console

from acepilot.cli import program, text_console
from acepilot.errors import ConfigError
from acepilot.models.manifest import write_atomically
from eval_humaneval import selftest
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

DESCRIPTION = """Evaluate a completion model, and decide whether it may replace the served one.

    python -m eval_humaneval                              the starter model on the built-in problems, greedy
    python -m eval_humaneval run --model FOLDER --problems human-eval --languages python
    python -m eval_humaneval run --samples 10 --temperature 0.2
    python -m eval_humaneval run --holes ~/code/my-app    fill holes that are cut into your own code
    python -m eval_humaneval selftest                     do the problems' own solutions pass here?
    python -m eval_humaneval compare BASE CANDIDATE       the gate; each is a model, or the folder of a run
    python -m eval_humaneval drift BASE TUNED --texts base-texts.jsonl   how far tuning has moved a model
    python -m eval_humaneval problems --out problems.jsonl    the problems, to keep them out of a corpus

Exit codes: run, drift and problems: 0. selftest: 0, or 1 when a solution fails. compare: 0 PASS, 1 FAIL,
2 INCONCLUSIVE. All commands: 3 when nothing could be judged (settings, sandbox, unequal runs), 130 after
Ctrl-C.
"""


@program(error_code=NOT_JUDGED, resumes=True)
def main() -> int:
    """Run a command, by default `run`. Results go to standard output, progress to standard error."""
    words = sys.argv[1:]
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["run", *words]
    given = vars(_parser().parse_args(words))
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
    margins = _parse_margins(given.pop("margin"))
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with NOT_JUDGED: argparse's own code 2 means INCONCLUSIVE here."""
        self.print_usage(sys.stderr)
        self.exit(NOT_JUDGED, f"{self.prog}: error: {message}\n")


def _parse_margins(given: list[str]) -> dict[str, float]:
    """Parse the values of --margin: `go=8` is for one language, `6` for all (under the empty name)."""
    margins: dict[str, float] = {}
    for text in given:
        name, _, points = text.rpartition("=")
        try:
            margins[name] = float(points)
        except ValueError as error:
            raise ConfigError(f"--margin {text}: give points, as in 6, or go=8 for one language.") from error
    return margins


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m eval_humaneval",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="ask a model all problems, judge its answers, print a table")
    _add_settings(command, set(EvalSettings.model_fields))
    command.add_argument("--json", action="store_true", help="print results.json instead of the table")

    command = commands.add_parser(
        "selftest", help="check that the problems' own solutions are judged rightly"
    )
    _add_settings(command, {"problems", "languages", "unsafe"})
    command.add_argument("--json", metavar="OUT", help="write counts and tasks to this file")

    command = commands.add_parser("compare", help="the gate: may the candidate replace the base?")
    command.add_argument("base", help="the served model, or the folder of a run of it")
    command.add_argument("candidate", help="the model that would replace it, or the folder of a run of it")
    command.add_argument("--pool-margin", type=float, metavar="POINTS", help="tolerated drop of the pool")
    command.add_argument(
        "--margin", action="append", default=[], metavar="[LANGUAGE=]POINTS",
        help="tolerated drop in every language, or in one; default: the smallest that this run can show",
    )  # fmt: skip
    command.add_argument(
        "--drop-points", type=float, default=1.0, metavar="POINTS", help="FAIL is a larger drop (%(default)s)"
    )
    command.add_argument("--alpha", type=float, default=0.05, help="chance of a wrong verdict (%(default)s)")
    command.add_argument("--no-enlarge", action="store_true", help="add no samples after INCONCLUSIVE")
    command.add_argument("--json", action="store_true", help="print gate.json instead of the table")
    command.add_argument("--to", metavar="FOLDER", help="of the report; default: made from both names")
    _add_settings(command, set(EvalSettings.model_fields) - {"model", "to", "server_url", "token"})

    command = commands.add_parser("drift", help="how much less likely a tuned model finds its base's texts")
    command.add_argument("base", help="the model that was tuned")
    command.add_argument("tuned", help="the tuned model")
    command.add_argument(
        "--texts", required=True, metavar="FILE",
        help="written by `python -m finetune.corpus.sample_replay` with the base, and in no corpus",
    )  # fmt: skip
    command.add_argument("--json", metavar="OUT", help="write the figures to this file")
    _add_settings(command, {"engine", "threads", "kv_cache_gb"})

    command = commands.add_parser(
        "problems", help="write the problems as JSONL, to keep them out of a corpus"
    )
    command.add_argument("--out", required=True, metavar="FILE", help="the JSONL file")
    _add_settings(command, {"problems", "languages"})
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: set[str]) -> None:
    """Add a flag for each of the settings `names`."""
    for name, field in EvalSettings.model_fields.items():
        if name not in names or name == "token":  # a token on a command line shows in `ps`
            continue
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, action="store_true", default=None, help=field.description)
        else:
            default: Any = field.default
            if isinstance(default, list):
                default = ",".join(cast(list[str], default))
            note = "" if default in (None, "") else f" (default: {default})"
            parser.add_argument(flag, metavar=name.upper(), help=f"{field.description}{note}")
