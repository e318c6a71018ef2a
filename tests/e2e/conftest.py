"""What tests in real editors and pages share: a browser, a VS Code, and a server with the starter."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e import vscode_install
from tests.e2e.chromium import chromium
from tests.e2e.fetched import Node
from tests.e2e.own_server import Server
from tests.e2e.vscode_editor import LANGUAGE_SERVER, CodeServer, Open, Window
from tests.lsp.fake_server import FakeServer
from tests.needs import missing


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    yield page
    page.close()


@pytest.fixture(scope="session")
def code_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeServer]:
    folder = tmp_path_factory.mktemp("vscode")
    node = Node()
    program = vscode_install.code_server(node)
    server = CodeServer(node.program, program, vscode_install.extensions(node, folder), folder)
    yield server
    server.stop()


@pytest.fixture
def terminals(code_server: CodeServer) -> None:
    if not code_server.has_terminals:
        missing("a C++ compiler, for code-server's terminals and logs,", "apt-get install g++ make")


@pytest.fixture
def open_file(page: Page, code_server: CodeServer, fake: FakeServer, tmp_path: Path) -> Iterator[Open]:
    """`open_file(name, text)`: a window on a folder with that file, less the bar; the server is scripted."""
    windows: list[Window] = []

    def open_one(name: str, text: str, keys: dict[str, str] | None = None, **settings: Any) -> Window:
        chosen = {"acepilot.command": LANGUAGE_SERVER, "acepilot.serverUrl": fake.url}
        chosen |= {f"acepilot.{key}": value for key, value in settings.items()}
        code_server.set_up(chosen, keys)
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("|", ""))
        windows.append(Window(page, code_server, folder, folder / name))
        return windows[-1]

    yield open_one
    for window in windows:
        window.close()


@pytest.fixture(scope="module")
def real_url() -> Iterator[str]:
    given = os.environ.get("ACEPILOT_E2E_URL")
    if given:
        yield given.rstrip("/")
        return
    server = Server("-m", "server", "--model", "starter", "--port")
    yield server.url
    server.stop()
