"""Tests of the programs of public sets: right completions reach the verdict, wrong ones do not."""

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval_humaneval import formats
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.problems.problem import VERDICT_MARK, Problem, program_of, truncate
from tests.eval_humaneval.programs import need_tools

HERE = Path(__file__).parent
RECORDS: list[dict[str, Any]] = tomllib.loads((HERE / "formats_records.toml").read_text(encoding="utf-8"))[
    "record"
]
SHARED = HERE.parents[3] / "shared" / "data"

ALWAYS_EQUAL = """\
    class Same{base}:
        __eq__ = __lt__ = __le__ = __gt__ = __ge__ = lambda *_: True
        __ne__ = lambda *_: False
        __hash__ = lambda _: 1
        __sub__ = __rsub__ = __add__ = __mul__ = __mod__ = __abs__ = lambda *_: Same()
        __float__ = lambda _: 0.0
        __len__ = lambda _: 1
    return Same()
"""


def load_one(record: dict[str, Any], folder: Path) -> Problem:

    path = folder / "set.json"
    path.write_text(json.dumps([record["fields"]]), encoding="utf-8")
    (problem,) = formats.load(str(path)).problems
    return problem


def outcome(problem: Problem, completion: str, folder: Path) -> str:
    """Run the program of `completion` without a sandbox, and return its outcome."""
    toolchain = ADAPTERS[problem.language]
    need_tools(toolchain)
    source = program_of(problem, completion).source
    assert source.count(VERDICT_MARK) == 1
    verdict = toolchain.verdict.format("hel", "d fast")
    (folder / toolchain.source_name).write_text(source.replace(VERDICT_MARK, verdict), encoding="utf-8")
    for name, path in toolchain.files.items():
        shutil.copy(path, folder / name)
    printed = ""
    environment = {**os.environ, **toolchain.environment}
    for step, command in ("compile_error", toolchain.compile), ("failed", toolchain.run):
        if command:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
            )
            if done.returncode != 0:
                return step
            printed = done.stdout
    return "passed" if "held fast" in printed.splitlines() else "failed"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["id"])
def test_right_and_wrong(record: dict[str, Any], tmp_path: Path) -> None:
    problem = load_one(record, tmp_path)
    assert problem.id == record["id"]
    assert problem.cluster == record["cluster"]
    assert outcome(problem, record["right"], tmp_path) == "passed"
    assert outcome(problem, record["wrong"], tmp_path) == "failed"
    if problem.canonical is not None:
        assert truncate(problem.canonical, problem.stops) == problem.canonical
        assert outcome(problem, problem.canonical, tmp_path) == "passed"


@pytest.mark.parametrize(
    ("id", "completion"),
    [
        ("humaneval/python/900", "    import os; os._exit(0)\n"),
        ("humaneval-x/js/900", "  process.exit(0);"),
        ("mxeval/php/900", "    exit(0);"),
        ("mxeval/ruby/900", "\n  exit!(0)"),
        ("multipl-e/rb/HumanEval_900_evens", "  exit(0)\nend\n"),
        ("multipl-e/sh/HumanEval_900_evens", "    exit 0"),
    ],
)
def test_a_program_that_exits_early_does_not_pass(id: str, completion: str, tmp_path: Path) -> None:
    (record,) = (record for record in RECORDS if record["id"] == id)
    assert outcome(load_one(record, tmp_path), completion, tmp_path) == "failed"


@pytest.mark.parametrize(
    ("returned", "passes"),
    [
        ("Counter('aab')", True),
        ("defaultdict(int, a=2, b=1)", True),
        ("OrderedDict(b=1, a=2)", True),
        ("{'a': Kind.two, 'b': True}", True),
        ("{'a': 2, 'b': object()}", False),
        ("{'a': 2, 'b': 1, 'c': 0}", False),
        ("{'a': 2, 'b': Same()}", False),
    ],
)
def test_results_are_compared_as_plain_values(returned: str, passes: bool, tmp_path: Path) -> None:
    fields = {
        "task_id": "HumanEval/901",
        "prompt": "from collections import *\nimport enum\n\ndef count(text):\n",
        "entry_point": "count",
        "canonical_solution": "    return {'a': 2, 'b': 1}\n",
        "test": "def check(candidate):\n    assert candidate('aab') == {'a': 2, 'b': 1}\n",
    }
    body = """\
    class Kind(enum.IntEnum):
        two = 2
    class Same(int):
        __eq__ = lambda *_: True
        __hash__ = lambda _: 1
"""
    problem = load_one({"fields": fields}, tmp_path)
    completion = f"{body}    return {returned}\n"
    assert outcome(problem, completion, tmp_path) == ("passed" if passes else "failed")


def verdicts(problems: Sequence[Problem], completions: Sequence[str | None]) -> list[str]:
    """Run all Python problems in one process; return the ids of those that pass."""
    programs = [
        (problem.id, program_of(problem, completion or "").source.replace(VERDICT_MARK, "print(_id)"))
        for problem, completion in zip(problems, completions, strict=True)
    ]
    driver = """
import contextlib, io, sys
for _id, source in eval(sys.stdin.read()):
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(source, _id, "exec"), {"_id": _id, "__name__": "main"})
        print(out.getvalue().splitlines()[-1])
    except Exception:
        pass
"""
    done = subprocess.run(
        ("python3", "-I", "-S", "-c", driver),
        input=repr(programs),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def human_eval() -> tuple[Problem, ...]:
    return formats.load("human-eval").problems


def test_all_canonicals_of_human_eval_pass(human_eval: tuple[Problem, ...]) -> None:
    assert len(human_eval) == 164
    assert not any(problem.excluded for problem in human_eval)
    passed = verdicts(human_eval, [problem.canonical for problem in human_eval])
    assert passed == [problem.id for problem in human_eval]


@pytest.mark.parametrize("base", ["", "(list)", "(int)", "(str)"])
def test_an_object_that_equals_everything_passes_none(human_eval: tuple[Problem, ...], base: str) -> None:
    assert verdicts(human_eval, [ALWAYS_EQUAL.format(base=base)] * 164) == []


def shared(path: str) -> tuple[Problem, ...]:
    if not (SHARED / path).exists():
        pytest.skip(f"{SHARED.name}/{path} is not in a clone")
    return formats.load(str(SHARED / path)).problems


def test_stops_do_not_cut_canonical_solutions(human_eval: tuple[Problem, ...]) -> None:
    published = (*human_eval, *shared("humaneval-x"), *shared("multilingual-humaneval"))
    canonicals = [problem for problem in published if problem.canonical is not None]
    assert len(canonicals) == 164 * 4
    for problem in canonicals:
        assert truncate(problem.canonical or "", problem.stops) == problem.canonical, problem.id


def test_ids_are_unique_and_clusters_join_languages(human_eval: tuple[Problem, ...]) -> None:
    published = (*human_eval, *shared("humaneval-x"), *shared("multilingual-humaneval"))
    assert len({problem.id for problem in published}) == len(published)
    assert {problem.cluster for problem in published} == {problem.cluster for problem in human_eval}
    below_zero = [problem for problem in published if problem.cluster == "HumanEval/3"]
    assert {problem.language for problem in below_zero} == {
        *("python", "javascript", "typescript", "java", "go", "php", "ruby", "csharp"),
    }


def test_mxeval_as_published() -> None:
    loaded = shared("multilingual-humaneval")
    counted = dict.fromkeys(ADAPTERS, 0)
    for problem in loaded:
        counted[problem.language] += 1
        source = program_of(problem, "").source
        assert source.count(VERDICT_MARK) == 1
        assert "lodash" not in source
        assert "return $x == $y" not in source
        assert "if x0 != v0" not in source
    assert {language: count for language, count in counted.items() if count} == {
        **dict.fromkeys(("java", "javascript", "typescript", "php", "ruby", "csharp"), 161),
        "python": 164,
        "go": 160,
    }


@pytest.mark.parametrize(
    "file", ["humaneval-x/humaneval_python.jsonl.gz", "multilingual-humaneval/HumanEval.jsonl"]
)
def test_all_python_canonicals_pass(file: str) -> None:
    problems = shared(file)
    assert len(verdicts(problems, [problem.canonical for problem in problems])) == 164


@pytest.mark.slow
def test_the_javascript_canonicals_that_fail_are_those_excluded(tmp_path: Path) -> None:
    problems = shared("humaneval-x/humaneval_js.jsonl.gz")
    failed = {
        problem.id for problem in problems if outcome(problem, problem.canonical or "", tmp_path) != "passed"
    }
    assert failed == {problem.id for problem in problems if problem.excluded}
    assert len(failed) == 3
