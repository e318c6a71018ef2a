"""Runs a problem's program as plain subprocesses: what the sandbox adds has tests of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from eval_humaneval.languages import ADAPTERS
from eval_humaneval.problems import VERDICT_MARK, Problem, program_of


def need_tools(language: str) -> None:
    for tool in ADAPTERS[language].toolchain.tools:
        if shutil.which(tool.name) is None:
            pytest.skip(f"{tool.name} is missing: {tool.install}")


def complaint(problem: Problem, completion: str, folder: Path) -> str:
    """Empty when `completion` passes; otherwise what the program said."""
    toolchain = ADAPTERS[problem.language].toolchain
    verdict = toolchain.verdict.format("all ", "held")
    source = program_of(problem, completion).source
    assert source.count(VERDICT_MARK) == 1
    (folder / toolchain.source_name).write_text(source.replace(VERDICT_MARK, verdict), encoding="utf-8")
    for name, path in toolchain.files.items():
        shutil.copy(path, folder / name)
    said = ""
    for command in filter(None, (toolchain.compile, toolchain.run)):
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        if ran.returncode != 0:
            return f"{ran.stdout}{ran.stderr}" or f"exit status {ran.returncode}"
        said = ran.stdout
    return "" if "all held" in said else "the verdict is missing"
