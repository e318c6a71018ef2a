"""Which program VS Code's extension takes for the language server: its own source, in Node alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fetched import Node
from tests.e2e.vscode_install import EXTENSION

pytestmark = pytest.mark.e2e

SCRIPT = """
const { findProgram } = await import(process.argv[1]);
const found = await findProgram(JSON.parse(process.argv[2])).catch(error => ({ missing: error.message }));
console.log(JSON.stringify(found));
"""


def find(folder: Path, *chosen: str, path: str = "", **variables: str) -> dict[str, Any]:
    words = [str(Node().program), "--input-type=module", "--eval", SCRIPT]
    done = subprocess.run(
        [*words, str(EXTENSION / "src" / "program.ts"), json.dumps(chosen)],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def script(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def test_the_virtual_environment_is_first_then_the_path(tmp_path: Path) -> None:
    own = script(tmp_path / "venv" / "bin" / "acepilot-lsp")
    common = script(tmp_path / "bin" / "acepilot-lsp")
    path = f"/nowhere{os.pathsep}{common.parent}"
    assert find(tmp_path, path=path, VIRTUAL_ENV=str(tmp_path / "venv")) == {"command": str(own), "args": []}
    assert find(tmp_path, path=path) == {"command": str(common), "args": []}


def test_else_a_python_that_has_it(tmp_path: Path) -> None:
    python = script(tmp_path / "bin" / "python3", f'exec {sys.executable} "$@"')
    found = find(tmp_path, path=str(python.parent))
    assert found == {"command": str(python), "args": ["-P", "-m", "lsp"]}
    said = subprocess.run(
        [found["command"], *found["args"], "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Acepilot's language server" in said.stdout


def test_else_what_to_do_is_said(tmp_path: Path) -> None:
    python = script(tmp_path / "bin" / "python3", "exit 1")
    said = find(tmp_path, path=str(python.parent))["missing"]
    assert "neither in the active virtual environment nor on PATH" in said
    assert "Install Acepilot there, or name the program in acepilot.command." in said


def test_nothing_of_the_project_s_is_taken(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "acepilot-lsp")
    (tmp_path / "lsp").mkdir()
    (tmp_path / "lsp" / "__main__.py").write_text("raise SystemExit('the project')")
    python = script(tmp_path / "own" / "python3", f'exec {sys.executable} "$@"')
    path = os.pathsep.join(["bin", ".", "", str(python.parent)])
    assert find(tmp_path, path=path)["command"] == str(python)
    assert "no such program" in find(tmp_path, "bin/acepilot-lsp", path=path)["missing"]


def test_the_user_s_choice_is_final(tmp_path: Path) -> None:
    chosen = script(tmp_path / "tools" / "mine")
    script(tmp_path / "bin" / "acepilot-lsp")
    path = str(tmp_path / "bin")
    assert find(tmp_path, "~/tools/mine", "-v", path=path) == {"command": str(chosen), "args": ["-v"]}
    assert "acepilot.command says /nowhere" in find(tmp_path, "/nowhere/acepilot-lsp", path=path)["missing"]
