"""A user's hands and eyes in VS Code: code-server with our extension, and one window of it in Chromium."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.e2e.own_server import ROOT
from tests.e2e.vscode_install import has_terminals
from tests.lsp.fake_server import FakeServer

LANGUAGE_SERVER = [sys.executable, "-m", "lsp"]
PICTURES = ROOT / "artifacts"

SIZE = """\
import os


def size_of(path: str) -> int:
    return|
"""
"""A sample, with a bar for the cursor."""
SIZE_REST = " os.stat(path).st_size"
SIZE_WHOLE = SIZE.replace("|", SIZE_REST)

STATUS = "[id='acepilot.acepilot.status'] a"
GHOST = ".ghost-text-decoration, .ghost-text"
LINES = """lines => lines
    .map(line => [line.getBoundingClientRect().top, line.textContent])
    .sort((one, other) => one[0] - other[0])
    .map(line => line[1])"""

MACHINE_SETTINGS = {"acepilot.command", "acepilot.serverUrl", "acepilot.timeBudgetMs"}
"""They belong to where the extension runs; code-server is a remote machine to the browser."""

QUIET: dict[str, Any] = {
    "chat.disableAIFeatures": True,
    "editor.minimap.enabled": False,
    "editor.parameterHints.enabled": False,
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.suggestOnTriggerCharacters": False,
    "extensions.autoUpdate": False,
    "extensions.ignoreRecommendations": True,
    "files.autoSave": "off",
    "telemetry.telemetryLevel": "off",
    "terminal.integrated.gpuAcceleration": "off",
    "update.mode": "none",
    "workbench.colorTheme": "Default Light Modern",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
}
"""Nothing but our extension talks."""


class CodeServer:
    """One process for all windows. `folder` holds everything that VS Code writes."""

    def __init__(self, node: Path, program: Path, extensions: list[Path], folder: Path) -> None:
        self.has_terminals = has_terminals(program)
        self._user = folder / "data" / "User"
        self._machine = folder / "data" / "Machine"
        for each in (self._user, self._machine):
            each.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("ACEPILOT_", "VSCODE_", "XDG_"))}
        environment = {**clean, "HOME": str(folder), "SHELL": "/bin/sh", "VIRTUAL_ENV": sys.prefix}
        places = ["--user-data-dir", str(folder / "data"), "--extensions-dir", str(folder / "extensions")]
        words = [
            str(node),
            str(program / "out" / "node" / "entry.js"),
            *places,
            "--config",
            str(folder / "config.yaml"),
        ]
        subprocess.run(
            [*words, *(f"--install-extension={each}" for each in extensions)],
            env=environment,
            check=True,
            capture_output=True,
            timeout=120,
        )
        flags = ["--auth=none", "--disable-telemetry", "--disable-update-check", "--disable-workspace-trust"]
        self._log = (folder / "code-server.log").open("w")
        self._process = subprocess.Popen(
            [*words, *flags, f"--bind-addr=127.0.0.1:{self.port}"],
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        until(lambda: self._answers(), 60)

    def log(self) -> str:
        """Everything that our extension's log has."""
        return "".join(each.read_text() for each in self._user.parent.glob("logs/**/*acepilot/*.log"))

    def set_up(self, settings: dict[str, Any], keys: dict[str, str] | None = None) -> None:
        """The user's settings, and commands by key, for the next window."""
        machines = {name: value for name, value in settings.items() if name in MACHINE_SETTINGS}
        (self._machine / "settings.json").write_text(json.dumps(machines))
        users = {name: value for name, value in settings.items() if name not in MACHINE_SETTINGS}
        (self._user / "settings.json").write_text(json.dumps({**QUIET, **users}))
        bound = [{"key": key, "command": command} for key, command in (keys or {}).items()]
        (self._user / "keybindings.json").write_text(json.dumps(bound))

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "code-server ended before it answered"
        try:
            return httpx.get(f"{self.url}/healthz").status_code < 500
        except httpx.TransportError:
            return False


class Window:
    """VS Code on one folder (or `.code-workspace` file), with one file open and the cursor in it."""

    def __init__(self, page: Page, server: CodeServer, place: Path, file: Path) -> None:
        self.page = page
        self.file = file
        kind = "folder" if place.is_dir() else "workspace"
        payload = json.dumps([["openFile", f"vscode-remote://127.0.0.1:{server.port}{file}"]])
        address = f"{server.url}/?{kind}={quote(str(place))}&payload={quote(payload)}"
        page.goto(address, wait_until="commit", timeout=60_000)
        expect(page.locator(".monaco-editor .view-lines").first).to_be_visible(timeout=60_000)
        self.status("", timeout_s=60)

    def status(self, starts: str, timeout_s: float = 20) -> str:
        """Wait until the status bar says so; all that a screen reader would hear of it."""
        item = self.page.locator(STATUS)
        expect(item).to_have_attribute(
            "aria-label", re.compile(f"Acepilot: {re.escape(starts)}"), timeout=timeout_s * 1000
        )
        return item.get_attribute("aria-label") or ""

    def put_cursor(self, line: int, column: int) -> None:
        """Both count from 1."""
        self.page.locator(".monaco-editor .view-lines").first.click()
        self.page.keyboard.press("Control+G")
        self.page.keyboard.type(f"{line}:{column}")
        self.page.keyboard.press("Enter")
        expect(self.page.locator("[id='status.editor.selection']")).to_contain_text(
            f"Ln {line}, Col {column}"
        )

    def type(self, text: str) -> None:
        self.page.keyboard.type(text, delay=30)

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)

    def command(self, title: str) -> None:
        self.page.keyboard.press("F1")
        box = self.page.locator(".quick-input-widget input")
        expect(box).to_be_visible()
        box.fill(f">{title}")
        expect(self.page.locator(".quick-input-list .monaco-list-row").first).to_contain_text(title)
        self.page.keyboard.press("Enter")
        expect(box).to_be_hidden()

    def ghost(self) -> str:
        """The grey text alone."""
        return plain("".join(self.page.locator(GHOST).all_text_contents()))

    def text(self) -> str:
        """The document as the user sees it, grey text included."""
        return plain("\n".join(self.page.locator(".editor-instance .view-line").evaluate_all(LINES)))

    def shows(self, text: str) -> None:
        """Wait until the document looks so, some of it in grey."""
        until(lambda: self.ghost() and self.text() == text, 20, lambda: f"not shown, but: {self.text()}")

    def shows_nothing(self) -> None:
        expect(self.page.locator(GHOST)).to_have_count(0)

    def saved(self) -> str:
        """Save, and read what is on disk."""
        dirty = self.page.locator(".tab.active.dirty")
        self.page.keyboard.press("Control+S")
        expect(dirty).to_have_count(0)
        return self.file.read_text()

    def notification(self, words: str) -> Locator:
        """The one that says so, once it is there."""
        found = self.page.locator(".notification-list-item").filter(has_text=words)
        expect(found).to_be_visible(timeout=20_000)
        return found

    def picture(self, name: str) -> None:
        """For the documentation, and for whoever wonders what a test saw."""
        PICTURES.mkdir(exist_ok=True)
        self.page.wait_for_timeout(700)  # until nothing is fading in
        self.page.screenshot(path=PICTURES / f"{name}.png")

    def close(self) -> None:
        """As a user closes a tab: VS Code ends the window's processes."""
        self.page.goto("about:blank")


Open = Callable[..., Window]
"""The fixture `open_file`."""


def language_servers(fake: FakeServer) -> dict[int, list[str]]:
    """The processes that were told this server's address, and their command lines."""
    found: dict[int, list[str]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                words = (each / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if fake.url in words:
                    found[int(each.name)] = words
    return found


def cursor(text: str) -> tuple[int, int]:
    """Where the bar is, counted from 1."""
    before = text.partition("|")[0].split("\n")
    return len(before), len(before[-1]) + 1


def plain(text: str) -> str:
    """Monaco draws spaces as no-break spaces."""
    return text.replace("\u00a0", " ").replace("\u200b", "")


def until(condition: Any, timeout_s: float, otherwise: Any = lambda: "") -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, otherwise() or f"not within {timeout_s} s"
        time.sleep(0.1)
