"""Tests of the judge: outcomes, the program's surroundings, and the cache of judgements."""

import asyncio
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from eval_humaneval.execution.judge import Judge, Judgement, JudgementCache
from eval_humaneval.execution.sandbox import LIMITS_ONLY, Sandbox
from eval_humaneval.languages.base import Limits, Tool, Toolchain
from eval_humaneval.problems.problem import VERDICT_MARK, Program
from tests.eval_humaneval.programs import need_sandbox, need_tools

PYTHON = Toolchain(
    source_name="main.py",
    run=("/usr/bin/python3", "-I", "-S", "main.py"),
    tools=(Tool("python3", "apt-get install python3"),),
    verdict="print('{0}' + '{1}')",
    limits=Limits(cpu_s=2),
)
C = Toolchain(
    source_name="main.c",
    compile=("/usr/bin/gcc", "-o", "main", "main.c"),
    run=("./main",),
    tools=(Tool("gcc", "apt-get install gcc"),),
    verdict='puts("{0}" "{1}");',
)
PASSES = f"assert 1 + 1 == 2\n{VERDICT_MARK}\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(need_sandbox(), workers=2) as sandbox:
        yield sandbox


@pytest.fixture
def judge(sandbox: Sandbox) -> Judge:
    return Judge(sandbox)


def judged(judge: Judge, source: str, toolchain: Toolchain = PYTHON) -> Judgement:
    need_tools(toolchain, path="/usr/bin")
    return judge.judge(Program("a language", source), toolchain)


def test_passes(judge: Judge) -> None:
    judgement = judged(judge, PASSES)
    assert (judgement.outcome, judgement.detail) == ("passed", "")
    assert judgement.cpu_s > 0
    assert judgement.wall_s > 0


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        (f"assert 1 + 1 == 3, 'not three'\n{VERDICT_MARK}\n", "AssertionError: not three"),
        (f"if False:\n    {VERDICT_MARK}\n", "exit status 0, and no verdict"),
        (f"{VERDICT_MARK}\nraise SystemExit('in the end')\n", "in the end"),
        (f"{VERDICT_MARK}\nprint('and one more thing')\n", "and one more thing"),
        (f"import sys\nsys.stdout = sys.stderr\n{VERDICT_MARK}\n", ""),
        (f"def unfinished(:\n{VERDICT_MARK}\n", "SyntaxError"),
    ],
)
def test_fails(judge: Judge, source: str, detail: str) -> None:
    judgement = judged(judge, source)
    assert judgement.outcome == "failed"
    assert detail in judgement.detail


def test_a_program_may_print_before_its_verdict(judge: Judge) -> None:
    assert judged(judge, f"print('looking', end='')\n{VERDICT_MARK}\nprint()\n").outcome == "passed"


def test_the_end_of_the_output_is_kept(judge: Judge) -> None:
    judgement = judged(judge, f"print('begun' + 10000 * '.' + 'ended')\nassert False\n{VERDICT_MARK}\n")
    assert "AssertionError" in judgement.detail
    assert "ended" in judgement.detail
    assert "begun" not in judgement.detail


def test_text_in_any_script(judge: Judge) -> None:
    assert (
        judged(judge, f"assert len('größer 大 🙂') == 10\nprint('大')\n{VERDICT_MARK}\n").outcome == "passed"
    )


def test_a_lone_surrogate_fails(judge: Judge) -> None:
    assert judged(judge, f"assert '\ud83d' == 'x'\n{VERDICT_MARK}\n").outcome == "failed"


def test_a_program_without_the_mark_is_refused(judge: Judge) -> None:
    with pytest.raises(ValueError, match="verdict"):
        judged(judge, "print('hello')")


def test_compiled(judge: Judge) -> None:
    source = f"#include <stdio.h>\nint main() {{ {VERDICT_MARK} return 0; }}\n"
    assert judged(judge, source, C).outcome == "passed"
    wrong = judged(judge, source.replace("int main", "int maim"), C)
    assert wrong.outcome == "compile_error"
    assert "main" in wrong.detail
    assert judged(judge, source.replace("{", "{ return 3;", 1), C).outcome == "failed"


def test_the_compilers_output_is_not_the_programs(judge: Judge) -> None:
    source = f'#include <stdio.h>\n#warning "beware"\nint main() {{ {VERDICT_MARK} return 0; }}\n'
    assert (
        judged(judge, source, replace(C, compile=("/usr/bin/gcc", "-o", "main", "main.c"))).outcome
        == "passed"
    )


def test_compiling_counts_against_the_time_limit(judge: Judge) -> None:
    endless = replace(PYTHON, compile=("/usr/bin/python3", "-c", "while True: pass"), limits=Limits(cpu_s=1))
    assert judged(judge, PASSES, endless).outcome == "timeout"


@pytest.mark.parametrize("wait", ["while True: pass", "import time; time.sleep(60)"])
def test_timeout(judge: Judge, wait: str) -> None:
    judgement = judged(judge, f"{wait}\n{VERDICT_MARK}", replace(PYTHON, limits=Limits(cpu_s=1)))
    assert judgement.outcome == "timeout"
    assert judgement.detail.startswith("more than ")


def test_a_broken_sandbox_is_infrastructure(judge: Judge) -> None:
    nowhere = replace(PYTHON, run=("/usr/bin/no-such-tool", "main.py"))
    for runs in (1, 2):
        judgement = judged(judge, PASSES, nowhere)
        assert judgement.outcome == "infrastructure"
        assert "no-such-tool" in judgement.detail
        assert judge.spent.programs_run == runs


def test_cpu_time_of_the_whole_tree(judge: Judge) -> None:
    source = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    while time.process_time() < 0.5: pass\n"
        "    os._exit(0)\n"
        f"os.wait()\n{VERDICT_MARK}\n"
    )
    judgement = judged(judge, source)
    assert judgement.outcome == "passed"
    assert judgement.cpu_s >= 0.5


def test_files_beside_the_program(judge: Judge, tmp_path: Path) -> None:
    """The files may lie in folders that the sandbox's user cannot read."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "words").write_bytes(bytes(range(256)) * 4096)
    toolchain = replace(PYTHON, files={"data/words": private / "words"})
    source = f"assert open('data/words', 'rb').read() == bytes(range(256)) * 4096\n{VERDICT_MARK}\n"
    for note in ("", "# the worker has the file already\n"):
        assert judged(judge, source + note, toolchain).outcome == "passed"


def test_environment(judge: Judge) -> None:
    source = (
        "import os\n"
        "assert set(os.environ) <= {'PATH', 'HOME', 'LANG', 'PWD', 'LC_CTYPE', 'ASKED'}, os.environ\n"
        f"assert os.environ['ASKED'] == 'for'\n{VERDICT_MARK}\n"
    )
    assert judged(judge, source, replace(PYTHON, environment={"ASKED": "for"})).outcome == "passed"


def test_not_root(judge: Judge) -> None:
    assert judged(judge, f"import os\nassert os.getuid() == 65534\n{VERDICT_MARK}\n").outcome == "passed"


def test_equal_programs_run_once(judge: Judge) -> None:
    source = f"import time, random\ntime.sleep(0.3)\nassert False, random.random()\n{VERDICT_MARK}\n"
    with ThreadPoolExecutor(8) as pool:
        judgements = list(pool.map(lambda _: judged(judge, source), range(8)))
    assert len(set(judgements)) == 1
    assert judge.spent.programs_run == 1
    assert judge.spent.programs_cached == 7
    assert judge.spent.cpu_s == judgements[0].cpu_s


def test_an_unequal_toolchain_is_another_program(judge: Judge) -> None:
    for toolchain in (
        PYTHON,
        replace(PYTHON, limits=Limits(cpu_s=3)),
        replace(PYTHON, environment={"A": "b"}),
        replace(PYTHON, run=(*PYTHON.run, "an argument")),
        replace(PYTHON, files={"a": Path(__file__)}),
    ):
        judged(judge, PASSES, toolchain)
    assert judge.spent.programs_run == 5


def test_from_an_event_loop(judge: Judge) -> None:
    async def judge_all() -> list[Judgement]:
        programs = [Program("python", f"assert {number} < 10\n{VERDICT_MARK}\n") for number in range(12)]
        return await asyncio.gather(*(asyncio.to_thread(judge.judge, one, PYTHON) for one in programs))

    outcomes = [judgement.outcome for judgement in asyncio.run(judge_all())]
    assert outcomes == ["passed"] * 10 + ["failed"] * 2


def test_a_later_run_finds_what_was_judged(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "run" / "judgements.jsonl"
    sources = [PASSES, f"assert False\n{VERDICT_MARK}\n"]
    with JudgementCache(path) as known:
        first = [judged(Judge(sandbox, known), source) for source in sources]
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "half a li')
    for _ in range(2):
        with JudgementCache(path) as known:
            judge = Judge(sandbox, known)
            assert [judged(judge, source) for source in sources] == first
            assert (judge.spent.programs_run, judge.spent.programs_cached) == (0, 2)
    assert [json.loads(line)["judgement"]["outcome"] for line in path.read_text().splitlines()] == [
        "passed",
        "failed",
    ]


def test_a_later_run_tries_timeouts_and_breakages_again(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    with JudgementCache(path) as known:
        judge = Judge(sandbox, known)
        hurried = replace(PYTHON, limits=Limits(cpu_s=1))
        for _ in range(2):
            assert judged(judge, f"while True: pass\n{VERDICT_MARK}", hurried).outcome == "timeout"
        assert judge.spent.programs_cached == 1
        judged(judge, PASSES, replace(PYTHON, run=("/usr/bin/no-such-tool",)))
    assert path.read_text() == ""


def test_a_line_of_another_version_is_run_again(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "judgements.jsonl"
    path.write_text('{"key": "abc", "judgement": {"outcome": "perhaps"}}\n')
    with JudgementCache(path) as known:
        assert judged(Judge(sandbox, known), PASSES).outcome == "passed"


def test_limits_only(tmp_path: Path) -> None:
    """The weaker level: no root, limits, an empty environment, and no leftovers."""
    with Sandbox(LIMITS_ONLY, workers=1) as sandbox:
        judge = Judge(sandbox)
        source = (
            "import os\n"
            f"assert os.getuid() == {os.geteuid() or 65534}\n"
            "assert set(os.environ) <= {'PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_CTYPE'}, os.environ\n"
            f"print(os.getcwd())\nassert open('file').read()\n{VERDICT_MARK}\n"
        )
        with_file = replace(PYTHON, files={"file": Path(__file__)})
        assert judged(judge, source, with_file).outcome == "passed"
        folder = judged(judge, source.replace("print", "assert False, "), with_file).detail.split()[-1]
        assert folder.startswith("/")
        assert not Path(folder).exists()
        hurried = replace(PYTHON, limits=Limits(cpu_s=1))
        assert judged(judge, f"while True: pass\n{VERDICT_MARK}", hurried).outcome == "timeout"
        assert judged(judge, f"hoard = bytearray(10 << 30)\n{VERDICT_MARK}").outcome == "failed"
        daemon = (
            "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
            "        print(os.getpid(), flush=True)\n        time.sleep(60)\n    os._exit(0)\n"
            f"os.wait()\ntime.sleep(0.5)\nassert False\n{VERDICT_MARK}\n"
        )
        judgement = judged(judge, daemon)
        assert judgement.outcome == "failed"
        assert not Path("/proc", judgement.detail.split()[0]).exists()
        assert judged(judge, PASSES, replace(PYTHON, run=("/no/tool",))).outcome == "infrastructure"
