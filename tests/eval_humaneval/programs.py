"""Helpers of the evaluation's tests: skip without tools or a sandbox, and run programs without a sandbox."""

import shutil
import subprocess
from pathlib import Path

import pytest

from acepilot.errors import SandboxUnavailable
from eval_humaneval.execution.detect import detect_sandbox
from eval_humaneval.execution.sandbox import SYSTEM_PATH, SandboxLevel
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.languages.base import Tool, Toolchain
from eval_humaneval.problems.problem import VERDICT_MARK, Problem, program_of
from tests.needs import missing

BUBBLEWRAP = Tool("bwrap", "apt-get install bubblewrap")


def need_tools(*toolchains: Toolchain, path: str | None = None) -> None:
    """Skip the test if a tool of these is in no folder of `path` (default: PATH)."""
    _need([tool for toolchain in toolchains for tool in toolchain.tools], path)


def need_sandbox(*toolchains: Toolchain) -> SandboxLevel:
    """Return this machine's sandbox; skip the test if it has none.

    If bubblewrap is missing, the reason also names the missing tools of `toolchains`.
    """
    if shutil.which(BUBBLEWRAP.name, path=SYSTEM_PATH) is None:
        _need([BUBBLEWRAP, *(tool for toolchain in toolchains for tool in toolchain.tools)], SYSTEM_PATH)
    try:
        return detect_sandbox()
    except SandboxUnavailable as error:
        pytest.skip(error.message)


def _need(tools: list[Tool], path: str | None) -> None:
    absent = [tool for tool in tools if shutil.which(tool.name, path=path) is None]
    if absent:
        packages = dict.fromkeys(tool.install.removeprefix("apt-get install ") for tool in absent)
        missing(" and ".join(tool.name for tool in absent), f"apt-get install {' '.join(packages)}")


def failure(problem: Problem, completion: str, folder: Path) -> str:
    """Run `completion` without a sandbox. Return "" if it passes, otherwise the program's output."""
    toolchain = ADAPTERS[problem.language]
    verdict = toolchain.verdict.format("all ", "held")
    source = program_of(problem, completion).source
    assert source.count(VERDICT_MARK) == 1
    (folder / toolchain.source_name).write_text(source.replace(VERDICT_MARK, verdict), encoding="utf-8")
    for name, path in toolchain.files.items():
        shutil.copy(path, folder / name)
    output = ""
    for command in filter(None, (toolchain.compile, toolchain.run)):
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        if ran.returncode != 0:
            return f"{ran.stdout}{ran.stderr}" or f"exit status {ran.returncode}"
        output = ran.stdout
    return "" if "all held" in output else "the verdict is missing"
