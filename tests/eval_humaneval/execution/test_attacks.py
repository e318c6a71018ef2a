"""Tests with hostile programs in the sandbox: those of test_attacks.toml and some that need this machine.

None passes or leaves anything behind, and the next program is judged as usual.
"""

import os
import socket
import subprocess
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval_humaneval.execution.judge import Judge, Judgement
from eval_humaneval.execution.sandbox import Sandbox
from eval_humaneval.languages.base import Limits, Tool, Toolchain
from eval_humaneval.problems.problem import VERDICT_MARK, Program
from tests.eval_humaneval.programs import need_sandbox, need_tools

LIMITS = Limits(cpu_s=1, processes=16, file_mb=16)
TOOLCHAINS = {
    "python": Toolchain(
        source_name="main.py",
        run=("/usr/bin/python3", "-I", "-S", "main.py"),
        tools=(Tool("python3", "apt-get install python3"),),
        verdict="print('{0}' + '{1}')",
        limits=LIMITS,
    ),
    "bash": Toolchain(
        source_name="main.sh",
        run=("/usr/bin/bash", "-e", "main.sh"),
        tools=(Tool("bash", "apt-get install bash"),),
        verdict="echo '{0}''{1}'",
        limits=LIMITS,
    ),
    "c": Toolchain(
        source_name="main.c",
        compile=("/usr/bin/gcc", "-w", "-o", "main", "main.c"),
        run=("./main",),
        tools=(Tool("gcc", "apt-get install gcc"),),
        verdict='puts("{0}" "{1}");',
        limits=replace(LIMITS, cpu_s=2),
    ),
}
SECRET = "secret-of-the-harness"
GROUPS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
ATTACKS = {
    f"{group}-{name}": (name.partition("-")[0], attack)
    for group, attacks in GROUPS.items()
    for name, attack in attacks.items()
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    level = need_sandbox(*TOOLCHAINS.values())
    with pytest.MonkeyPatch.context() as patch, Sandbox(level, workers=2) as sandbox:
        patch.setenv("API_TOKEN", SECRET)
        yield sandbox


@pytest.fixture
def mark() -> str:
    """A variable in the environment of a test's programs, to find their processes."""
    return f"attack-{uuid.uuid4().hex}"


@pytest.fixture(autouse=True)
def nothing_left_behind(sandbox: Sandbox, mark: str) -> Iterator[None]:
    places = [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/")]
    yield
    assert processes_of(mark) == []
    assert [path for place in places for path in place.glob("flood*")] == []
    assert judged(sandbox, mark, "python", "assert 1 + 1 == 2\n").outcome == "passed"


def judged(sandbox: Sandbox, mark: str, language: str, program: str) -> Judgement:
    toolchain = TOOLCHAINS[language]
    need_tools(toolchain, path="/usr/bin")
    source = program.replace("VERDICT", VERDICT_MARK)
    if source == program:
        source += f"\n{VERDICT_MARK}\n"
    return Judge(sandbox).judge(Program(language, source), replace(toolchain, environment={"MARK": mark}))


def processes_of(mark: str) -> list[str]:
    found: list[str] = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environment.read_bytes():
                found.append(environment.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(sandbox: Sandbox, mark: str, name: str) -> None:
    language, attack = ATTACKS[name]
    judgement = judged(sandbox, mark, language, attack["program"])
    assert judgement.outcome in attack["outcome"], judgement


def test_too_much_output_is_reported(sandbox: Sandbox, mark: str) -> None:
    program = GROUPS["output_flood"]["python"]["program"]
    assert judged(sandbox, mark, "python", program).detail == "more than 65536 bytes of output"


@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
def test_a_server_of_this_machine(sandbox: Sandbox, mark: str, family: str) -> None:
    """A Unix socket's abstract address is not a file, and must be out of reach as well."""
    with socket.socket(getattr(socket, family)) as server:
        server.bind(("127.0.0.1", 0) if family == "AF_INET" else f"\0{mark}")
        server.listen()
        program = (
            "import socket\n"
            f"client = socket.socket(socket.{family})\n"
            f"client.connect({server.getsockname()!r})\n"
        )
        assert judged(sandbox, mark, "python", program).outcome == "failed"


def test_this_repository(sandbox: Sandbox, mark: str) -> None:
    program = f"cat {Path(__file__)} || ls {Path(__file__).parents[3]}"
    assert judged(sandbox, mark, "bash", program).outcome == "failed"


def test_killing_a_process_of_the_same_user(sandbox: Sandbox, mark: str) -> None:
    victim = subprocess.Popen(["/usr/bin/sleep", "60"], user=65534 if os.geteuid() == 0 else None)
    try:
        assert judged(sandbox, mark, "bash", f"kill -9 {victim.pid}").outcome == "failed"
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_the_daemon_of_a_passing_program_dies_with_it(sandbox: Sandbox, mark: str) -> None:
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
    judgement = judged(sandbox, mark, "python", program)
    assert judgement.outcome == "passed"
    assert processes_of(mark) == []


@pytest.mark.parametrize("program", ["import os\n{0}\nos._exit(0)", "print('''{0}''', flush=True)\nexit(0)"])
def test_a_mark_in_a_completion_does_not_get_the_word(sandbox: Sandbox, mark: str, program: str) -> None:
    source = program.format(VERDICT_MARK) + "\nVERDICT\n"
    assert judged(sandbox, mark, "python", source).outcome == "failed"
