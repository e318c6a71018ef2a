"""Tests of the sandbox: its detection, limits and workers, and the toolchains that it can run."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from acepilot.errors import SandboxUnavailable
from eval_humaneval.execution.detect import detect_sandbox, why_denied
from eval_humaneval.execution.sandbox import BUBBLEWRAP, LIMITS_ONLY, Sandbox
from eval_humaneval.execution.toolchains import find_toolchains
from eval_humaneval.languages.base import Limits, Tool, Toolchain
from tests.eval_humaneval.programs import need_sandbox, need_tools

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(need_sandbox(), workers=2) as sandbox:
        yield sandbox


def workers() -> list[int]:
    """Return the process ids of the workers of all sandboxes of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"execution.worker" in Path("/proc", pid, "cmdline").read_bytes()]


def test_levels_have_stable_names() -> None:
    assert (BUBBLEWRAP.name, LIMITS_ONLY.name) == ("bubblewrap+seccomp", "limits-only")
    assert LIMITS_ONLY.lacks


def test_without_bubblewrap(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="bubblewrap is not installed; `apt-get install bubblewrap`"):
        detect_sandbox(path=str(tmp_path))
    assert detect_sandbox(unsafe=True, path=str(tmp_path)) == LIMITS_ONLY


def test_an_old_bubblewrap(tmp_path: Path) -> None:
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho --unshare-all\n")
    old.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match="is too old"):
        detect_sandbox(path=str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "in_container", "advice"),
    [
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            False,
            "AppArmor .* `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
        ),
        ({"kernel/unprivileged_userns_clone": "0"}, False, "`sysctl -w kernel.unprivileged_userns_clone=1`"),
        ({"user/max_user_namespaces": "0"}, True, "`sysctl -w user.max_user_namespaces=15000`"),
        ({"user/max_user_namespaces": "96365"}, True, "container .* `--security-opt seccomp=unconfined"),
        ({}, False, "a rule of this machine; its message: denied"),
    ],
)
def test_denied_namespaces(settings: dict[str, str], in_container: bool, advice: str) -> None:
    assert re.search(advice, why_denied("denied", settings.get, in_container=in_container))


def test_namespaces_denied_by_an_outer_bubblewrap(sandbox: Sandbox) -> None:
    assert sandbox.level == BUBBLEWRAP
    code = "from eval_humaneval.execution.detect import detect_sandbox; detect_sandbox()"
    outer = [
        "bwrap",
        "--dev-bind",
        "/",
        "/",
        "--unshare-user",
        "--disable-userns",
        sys.executable,
        "-c",
        code,
    ]
    refused = subprocess.run(outer, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "SandboxUnavailable: No sandbox for the programs of a model: " in refused.stderr


def test_limits_inside(sandbox: Sandbox) -> None:
    command = ("/usr/bin/bash", "-c", "ulimit -t; ulimit -v; ulimit -u; ulimit -f; ulimit -c")
    ran = sandbox.run(command, Limits(cpu_s=7, address_space_mb=300, processes=21, file_mb=5), {}, {})
    assert ran.stdout.split() == ["7", str(300 << 10), "21", str(5 << 10), "0"]
    ran = sandbox.run(command, Limits(address_space_mb=0), {}, {})
    assert ran.stdout.split()[1] == "unlimited"


def test_parallel_programs_do_not_share_the_limit_on_processes(sandbox: Sandbox) -> None:
    script = "for i in 1 2 3 4 5 6; do sleep 0.5 & done; wait; echo all"
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(sandbox.run, ("/usr/bin/bash", "-c", script), Limits(processes=8), {}, {})
            for _ in range(2)
        ]
    assert [run.result().stdout for run in runs] == ["all\n", "all\n"]


def test_a_dead_worker_is_replaced(sandbox: Sandbox) -> None:
    ran = sandbox.run(("/usr/bin/echo", "before"), Limits(), {}, {})
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    ran = sandbox.run(("/usr/bin/echo", "after"), Limits(), {}, {})
    assert (ran.stdout, ran.error) == ("after\n", "")


def test_closing_ends_the_workers(sandbox: Sandbox) -> None:
    before = workers()
    with Sandbox(sandbox.level, workers=1) as another:
        another.run(("/usr/bin/true",), Limits(), {}, {})
        assert len(workers()) == len(before) + 1
    assert workers() == before


def test_a_killed_harness_takes_its_programs_along(sandbox: Sandbox) -> None:
    mark = f"orphan-{uuid.uuid4().hex}"
    code = (
        "from eval_humaneval.execution.sandbox import *; from eval_humaneval.languages.base import Limits\n"
        f"Sandbox(BUBBLEWRAP, 1).run(('/usr/bin/sleep', '60'), Limits(cpu_s=30), {{}}, {{'MARK': {mark!r}}})"
    )
    assert sandbox.level == BUBBLEWRAP
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) as harness:
        wait_for(lambda: running(mark))
        harness.kill()
    wait_for(lambda: not running(mark))


def running(mark: str) -> bool:
    """Return True if some process has `mark` in its environment."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environment.read_bytes():
                return True
        except OSError:
            continue
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def python(name: str = "python3", files: dict[str, Path] | None = None) -> Toolchain:
    return Toolchain("main.py", (name, "main.py"), (Tool(name, f"install {name}"),), "", files=files or {})


def test_toolchains(sandbox: Sandbox, tmp_path: Path) -> None:
    found = find_toolchains(
        {
            "python": python(),
            "nothing": python("no-such-tool"),
            "fileless": python(files={"runtime.js": tmp_path / "runtime.js"}),
        },
        sandbox,
    )
    assert found.ready.keys() == {"python"}
    assert found.ready["python"].run[0] in ("/usr/local/bin/python3", "/usr/bin/python3")
    assert found.versions.keys() == {"python3"}
    assert found.versions["python3"].startswith("Python 3")
    assert found.missing == {
        "nothing": "no-such-tool is not installed: `install no-such-tool`",
        "fileless": f"{tmp_path / 'runtime.js'} is missing",
    }


def test_a_tool_in_a_private_folder_counts_as_missing(sandbox: Sandbox, tmp_path: Path) -> None:
    """Rustup's tools lie below /root: they are on the user's PATH, but the sandbox's user cannot run them."""
    tool = tmp_path / "private-tool"
    tool.write_text("#!/bin/sh\necho 1.0\n")
    tool.chmod(0o755)
    found = find_toolchains({"it": python("private-tool")}, sandbox, path=str(tmp_path))
    assert not found.ready
    assert found.missing["it"].startswith(f"{tool} does not work for the sandbox's user")
    assert found.missing["it"].endswith("`install private-tool`")


def test_commands_keep_what_is_no_tool(sandbox: Sandbox) -> None:
    gcc = Tool("gcc", "apt-get install gcc")
    toolchain = Toolchain("main.c", ("./main",), (gcc,), "", compile=("gcc", "-o", "main", "main.c"))
    need_tools(toolchain, path="/usr/bin")
    ready = find_toolchains({"c": toolchain}, sandbox).ready["c"]
    assert ready.compile == ("/usr/bin/gcc", "-o", "main", "main.c")
    assert ready.run == ("./main",)
