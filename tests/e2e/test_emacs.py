"""Acepilot in a real Emacs: eglot, without a display, over `python -m lsp` and the scripted server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lsp.fake_server import FakeServer
from tests.needs import missing, need_program

pytestmark = pytest.mark.e2e

CONFIG = Path(__file__).parents[2] / "editors" / "emacs" / "acepilot.el"
SESSION = Path(__file__).with_name("emacs_session.el")


@pytest.fixture
def emacs() -> str:
    program = need_program("emacs", "apt-get install emacs-nox elpa-eglot")
    probe = [program, "--batch", "-f", "package-initialize", "--eval", "(require 'eglot)"]
    if subprocess.run(probe, capture_output=True, timeout=60, check=False).returncode:
        missing("eglot", "apt-get install elpa-eglot")
    return program


def session(emacs: str, file: Path, server_url: str) -> dict[str, Any]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ACEPILOT_")}
    lsp = [sys.executable, "-m", "lsp", "--server-url", server_url]
    done = subprocess.run(
        [emacs, "--batch", "-f", "package-initialize", "-l", CONFIG, "-l", SESSION, file, *lsp],
        env={**clean, "HOME": str(file.parent)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Acepilot: ready; A completion was offered." in done.stderr
    return json.loads(done.stdout)


def test_one_line_is_completed(emacs: str, fake: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "size.py"
    before = "import os\n\n\ndef size(path):\n    # 漢字 😀\n    return os.stat"
    file.write_text(before, encoding="utf-8")
    fake.text = "(path).st_size"
    answer = session(emacs, file, fake.url)
    assert answer["offered"] == ["stat(path).st_size"]
    assert file.read_text(encoding="utf-8") == before + "(path).st_size\n"
    assert fake.seen[0].body.prompt == before
    assert fake.seen[0].body.language == "python"


def test_several_lines_are_completed(emacs: str, fake: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "size.py"
    before = "def size(path):\n    if path"
    file.write_text(before, encoding="utf-8")
    fake.text = " is None:\n        return 0"
    session(emacs, file, fake.url)
    assert file.read_text(encoding="utf-8") == before + fake.text + "\n"
