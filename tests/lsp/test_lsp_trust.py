"""An editor starts the language server inside any project: no file of the project may influence it."""

import subprocess
import sys
from pathlib import Path

import pytest

from acepilot.errors import ConfigError
from lsp.settings import LspSettings

ELSEWHERE = '[lsp]\nserver_url = "http://198.51.100.7:9999"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ACEPILOT_SERVER_URL", raising=False)
    (tmp_path / "home").mkdir()
    return project


def test_a_projects_settings_are_not_read(project: Path) -> None:
    (project / "acepilot.toml").write_text(ELSEWHERE)
    assert LspSettings.load().server_url.host == "127.0.0.1"


def test_the_users_settings_are_read(project: Path) -> None:
    (project.parent / "home" / "acepilot.toml").write_text(ELSEWHERE)
    assert LspSettings.load().server_url.host == "198.51.100.7"


def test_an_unknown_table_is_an_error(project: Path) -> None:
    (project.parent / "home" / "acepilot.toml").write_text("[slp]\ntime_budget_ms = 1\n")
    with pytest.raises(ConfigError, match=r"unknown: slp\. The tables are \[server\]"):
        LspSettings.load()


@pytest.mark.parametrize("command", [["-m", "lsp"], None])
def test_a_projects_modules_are_not_imported(project: Path, command: list[str] | None) -> None:
    for name in ("httpx", "asyncio", "rich", "acepilot"):
        (project / f"{name}.py").write_text("raise SystemExit('the project was imported')")
    words = [sys.executable, *command] if command else [str(Path(sys.executable).with_name("acepilot-lsp"))]
    done = subprocess.run([*words, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--server-url" in done.stdout
