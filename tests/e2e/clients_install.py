"""Other people's clients, as published: each fetched once, into a folder of its own under ACEPILOT_HOME."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from acepilot.settings import home

INSTALL_S = 600
OLDEST_NODE = 18


def npm_folder(name: str, *packages: str) -> Path:
    """`node_modules` with these packages. Skips the test where they cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing: install Node.js 18 or later")

    def fetch(folder: Path) -> None:
        _run(
            [
                npm,
                "install",
                "--prefix",
                str(folder),
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                *packages,
            ]
        )

    return _kept(name, fetch) / "node_modules"


def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is missing: install Node.js 18 or later")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(said.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node is {said.strip()}: Tabby's agent needs {OLDEST_NODE} or later")
    return program


def entry_of(modules: Path, package: str) -> Path:
    """The program that an npm package installs."""
    folder = modules / package
    (program,) = json.loads((folder / "package.json").read_text())["bin"].values()
    return folder / program


def python_program(name: str, program: str, *packages: str) -> Path:
    """A program in a virtual environment of its own. Skips the test where it cannot be had."""

    def fetch(folder: Path) -> None:
        # Made where it will stay: a virtual environment cannot be moved.
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages])

    return _kept(name, fetch) / "bin" / program


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder `name`, filled by `fetch`; a mark beside it says that it is whole."""
    folder = home() / "cache" / "e2e" / name
    mark = folder.with_name(f"{name}.whole")
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fetch(folder)
        mark.touch()
    return folder


def _run(words: list[str]) -> None:
    """From an empty folder: npm and pip read settings of the one they run in."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            words,
            cwd=elsewhere,
            env={**os.environ, "npm_config_update_notifier": "false"},
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
    if done.returncode != 0:
        pytest.skip(f"`{' '.join(words)}` failed: {(done.stdout + done.stderr)[-500:]}")
