"""Our extension in a real VS Code: what is shown, taken, saved and said."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from acepilot.protocol import Trail
from tests.e2e import vscode_install
from tests.e2e.own_server import MODEL_LOAD_S, ROOT
from tests.e2e.vscode_editor import STATUS, CodeServer, Window, until
from tests.lsp.fake_server import FakeServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PICTURES = ROOT / "artifacts"
LANGUAGE_SERVER = [sys.executable, "-m", "lsp"]

VUE = """\
<script setup lang="ts">
import { computed, ref } from "vue";

const count = ref(0);
const doubled =|
</script>

<template>
  <button @click="count++">{{ doubled }}</button>
</template>
"""
TYPESCRIPT = """\
export function total(prices: number[]): number {
  return|
}
"""
PYTHON = """\
import os


def size_of(path: str) -> int:
    return|
"""
SIZE = PYTHON.replace("|", "")
REST = " os.stat(path).st_size"
WHOLE = PYTHON.replace("|", REST)

Open = Callable[..., Window]


@pytest.fixture(scope="module")
def code_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeServer]:
    folder = tmp_path_factory.mktemp("vscode")
    try:
        node = vscode_install.Node()
        program = vscode_install.code_server(node)
        extensions = vscode_install.extensions(node, folder)
    except vscode_install.MissingError as error:
        pytest.skip(f"no VS Code here: {error}")
    server = CodeServer(node.program, program, extensions, folder)
    yield server
    server.stop()


@pytest.fixture
def terminal(code_server: CodeServer) -> None:
    if not code_server.has_terminals:
        pytest.skip(
            "code-server's terminals and logs need a C++ compiler when it is installed: apt-get install g++"
        )


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    yield page
    page.close()


@pytest.fixture
def open_file(page: Page, code_server: CodeServer, fake: FakeServer, tmp_path: Path) -> Iterator[Open]:
    """`open_file(name, text)`: a window on a folder with that file, the scripted server behind it."""
    windows: list[Window] = []

    def open_one(name: str, text: str, keys: dict[str, str] | None = None, **settings: Any) -> Window:
        chosen = {"acepilot.command": LANGUAGE_SERVER, "acepilot.serverUrl": fake.url}
        chosen |= {f"acepilot.{key}": value for key, value in settings.items()}
        code_server.set_up(chosen, keys or {})
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        windows.append(Window(page, code_server, folder, folder / name))
        return windows[-1]

    yield open_one
    for window in windows:
        window.close()


@pytest.mark.parametrize(
    ("name", "language", "text", "typed", "offered", "whole"),
    [
        (
            "Counter.vue",
            "vue",
            VUE,
            " computed(",
            "() => count.value * 2);",
            " computed(() => count.value * 2);",
        ),
        (
            "total.ts",
            "typescript",
            TYPESCRIPT,
            " prices.reduce(",
            "(sum, price) => sum + price, 0);",
            " prices.reduce((sum, price) => sum + price, 0);",
        ),
        ("size.py", "python", PYTHON, " os.stat(", "path).st_size", " os.stat(path).st_size"),
    ],
)
def test_tab_accepts_what_is_shown_and_undo_takes_it_back(
    open_file: Open,
    fake: FakeServer,
    name: str,
    language: str,
    text: str,
    typed: str,
    offered: str,
    whole: str,
) -> None:
    window = open_file(name, text.replace("|", ""))
    window.status("ready")
    fake.text = offered
    window.put_cursor(*cursor(text))
    window.type(typed)  # VS Code closes the bracket that this opens
    window.shows(text.replace("|", whole))
    window.press("Tab")
    assert window.saved() == text.replace("|", whole)
    window.press("Control+Z")
    assert window.saved() == text.replace("|", f"{typed})")
    assert {(seen.body.path, seen.body.language) for seen in fake.seen} == {(name, language)}


def test_a_part_is_accepted(open_file: Open, fake: FakeServer) -> None:
    keys = {"ctrl+down": "acepilot.acceptLine", "ctrl+enter": "acepilot.accept"}
    window = open_file("load.py", "def load(path):\n    \n", keys=keys)
    window.status("ready")
    fake.text = "with open(path) as file:\n        return file.read()"
    window.put_cursor(2, 5)
    window.press("Alt+\\")
    whole = f"def load(path):\n    {fake.text}\n"
    window.shows(whole)
    window.press("Control+ArrowRight")
    assert window.saved() == "def load(path):\n    with\n"
    window.shows(whole)
    window.press("Control+ArrowDown")
    until(lambda: window.ghost() == "        return file.read()", 10, window.ghost)
    assert window.saved() == "def load(path):\n    with open(path) as file:\n\n"
    assert len(fake.seen) == 1  # the rest is known
    window.press("Control+Enter")
    until(lambda: window.saved() == whole, 10)


def test_the_next_candidate(open_file: Open, fake: FakeServer) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    fake.text = REST
    fake.others = [" os.path.getsize(path)", " 0"]
    window.put_cursor(5, 11)
    window.press("Alt+\\")
    window.shows(WHOLE)
    window.press("Alt+]")
    window.shows(PYTHON.replace("|", fake.others[0]))
    window.press("Tab")
    assert window.saved() == PYTHON.replace("|", fake.others[0])


def test_the_status_follows_the_server(open_file: Open, fake: FakeServer) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    fake.stop()
    window.put_cursor(5, 11)
    window.type(" os.")
    said = window.status("server down")
    assert f"No completion server at {fake.url}" in said
    assert "python -m server" in said
    expect(window.notification("No completion server at").get_by_text("Run the doctor")).to_be_visible()
    picture(window, "vscode-down")
    fake.script = "loading"
    fake.start()
    assert "Patience." in window.status("loading")
    fake.script = "stream"
    window.status("ready")
    fake.text = "stat(path).st_size"
    window.press("Alt+\\")
    window.shows(WHOLE)
    assert "A completion was offered." in window.status("ready")


@pytest.mark.parametrize(
    ("title", "state"),
    [
        ("Toggle Everywhere", "off"),
        ("Toggle for This Workspace", "off"),
        ("Toggle for This Language", "off for python"),
    ],
)
def test_off_means_no_request(open_file: Open, fake: FakeServer, title: str, state: str) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    window.command(f"Acepilot: {title}")
    window.status(state)
    window.put_cursor(5, 11)
    window.type(" os.")
    window.press("Alt+\\")
    window.page.wait_for_timeout(2_000)
    window.shows_nothing()
    assert fake.seen == []
    if state == "off":
        assert language_servers(fake) == []
    window.command(f"Acepilot: {title}")
    window.status("ready")
    fake.text = "stat(path).st_size"
    window.put_cursor(5, 15)
    window.press("Alt+\\")
    window.shows(WHOLE)
    window.press("Tab")
    assert window.saved() == WHOLE


def test_a_workspace_cannot_turn_on_what_the_user_turned_off(open_file: Open, tmp_path: Path) -> None:
    own = tmp_path / "project" / ".vscode" / "settings.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"acepilot.enabled": True, "acepilot.command": ["/bin/false"]}))
    window = open_file("size.py", SIZE, enabled=False)
    assert "in the user's settings" in window.status("off")
    window.command("Acepilot: Toggle Everywhere")
    window.status("ready")  # with the user's program, not with the workspace's


def test_a_missing_program_is_said_with_a_remedy(open_file: Open) -> None:
    window = open_file("size.py", SIZE, command=["/nowhere/acepilot-lsp"])
    assert "acepilot.command says /nowhere/acepilot-lsp" in window.status("not found")
    window.notification("there is no such program").get_by_text("Open settings").click()
    expect(window.page.locator(".settings-editor")).to_contain_text("Server Url", timeout=20_000)


def test_a_language_server_that_ends_at_once_is_said(
    open_file: Open, code_server: CodeServer, terminal: None
) -> None:
    window = open_file("size.py", SIZE, command=[sys.executable, "-c", "raise SystemExit('no luck today')"])
    window.status("failed")
    window.notification("ended before it was ready").get_by_text("Show log").click()
    expect(window.page.locator(".part.panel")).to_contain_text("Acepilot")
    until(lambda: "no luck today" in code_server.log(), 20)


def test_a_language_server_that_dies_is_started_again(open_file: Open, fake: FakeServer) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    (first,) = language_servers(fake)
    os.kill(first, signal.SIGKILL)
    until(lambda: language_servers(fake) not in ([], [first]), 20)
    window.status("ready")
    fake.text = REST
    window.put_cursor(5, 11)
    window.press("Alt+\\")
    window.shows(WHOLE)


def test_versions_that_differ_are_said(open_file: Open, fake: FakeServer) -> None:
    later = "import lsp.server, lsp.__main__; lsp.server.version = lambda _: '9.9.9'; lsp.__main__.main()"
    window = open_file("size.py", SIZE, command=[sys.executable, "-c", later])
    assert "The language server is 9.9.9 and this extension" in window.status("ready")
    window.notification("Install the same version of both")


def test_a_token_is_kept_and_sent(open_file: Open, fake: FakeServer) -> None:
    fake.token = "open-sesame"
    fake.text = REST
    window = open_file("size.py", SIZE)
    window.status("token refused")
    window.notification("refuses the token").get_by_text("Set the token").click()
    window.page.locator(".quick-input-widget input[type=password]").fill("open-sesame")
    window.press("Enter")
    window.status("ready")
    window.put_cursor(5, 11)
    window.press("Alt+\\")
    window.shows(WHOLE)
    assert fake.seen[-1].authorization == "Bearer open-sesame"


def test_doctor_and_explanation(open_file: Open, fake: FakeServer, terminal: None) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    window.put_cursor(5, 11)
    fake.text = ""
    fake.reason = "Nothing: it repeats the line below."
    window.press("Alt+\\")
    window.status("ready. Nothing: it repeats the line below.")
    window.command("Acepilot: Explain the Last Completion")
    window.notification("Nothing: it repeats the line below.")
    fake.text = "a + b"
    window.command("Acepilot: Doctor")
    terminal_text = window.page.locator(".xterm-rows").filter(has_text="any LSP editor")
    expect(terminal_text).to_be_visible(timeout=30_000)
    assert fake.seen[-1].body.path == "sample.py"


def test_the_record_of_the_last_completion(fake: FakeServer, open_file: Open) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    window.put_cursor(5, 11)
    fake.trails = [
        Trail(id="cmpl-1", model="fake", engine="fake", language=None, mode="line", reason="Why not.")
    ]
    window.press("Alt+\\")
    window.status("ready. A completion was offered.")
    window.command("Acepilot: Explain the Last Completion")
    until(lambda: '"reason": "Why not."' in window.text(), 20, window.text)


def test_the_walkthrough_and_the_menu(open_file: Open) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    window.page.locator(STATUS).click()
    menu = window.page.locator(".quick-input-list")
    for entry in ("Acepilot: ready", "Turn off for python", "Run the doctor", "Open settings"):
        expect(menu).to_contain_text(entry)
    picture(window, "vscode-menu")
    window.press("Escape")
    window.command("Acepilot: Get Started")
    guide = window.page.locator(".gettingStartedContainer")
    expect(guide).to_contain_text("Accept all, a word, or a line", timeout=20_000)
    guide.get_by_text("Accept all, a word, or a line").click()
    expect(guide.get_by_text("Suggest now")).to_be_visible()
    picture(window, "vscode-walkthrough")


def test_two_folders_have_one_language_server(
    page: Page, code_server: CodeServer, fake: FakeServer, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / "size.py").write_text(SIZE)
    fake.text = "stat(path).st_size"
    both = tmp_path / "both.code-workspace"
    both.write_text(json.dumps({"folders": [{"path": "one"}, {"path": "two"}]}))
    code_server.set_up({"acepilot.command": LANGUAGE_SERVER, "acepilot.serverUrl": fake.url})
    window = Window(page, code_server, both, tmp_path / "two" / "src" / "size.py")
    window.status("ready")
    expect(page.locator(".explorer-folders-view")).to_contain_text("two")  # VS Code has read the file
    window.put_cursor(5, 11)
    window.type(" os.")
    window.shows(WHOLE)
    assert fake.seen[-1].body.path == "src/size.py"
    assert len(language_servers(fake)) == 1
    window.close()
    until(lambda: language_servers(fake) == [], 20)


@pytest.mark.timeout(2 * MODEL_LOAD_S + 120)
def test_a_real_completion_in_a_vue_file(
    page: Page, code_server: CodeServer, real_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "shop" / "src" / "Counter.vue"
    file.parent.mkdir(parents=True)
    file.write_text(VUE.replace("|", ""))
    settings = {"acepilot.command": LANGUAGE_SERVER, "acepilot.serverUrl": real_url}
    code_server.set_up({**settings, "acepilot.timeBudgetMs": 30_000})
    window = Window(page, code_server, tmp_path / "shop", file)
    window.status("ready", timeout_s=MODEL_LOAD_S)
    window.put_cursor(5, 16)
    window.type(" computed(")
    until(lambda: "count" in window.ghost(), 60, lambda: f"the ghost text is {window.ghost()!r}")
    window.status("ready. A completion was offered.")
    picture(window, "vscode")
    offered = window.ghost()
    window.press("Tab")
    assert f"const doubled = computed({offered}" in window.saved()
    window.close()


def picture(window: Window, name: str) -> None:
    """For the documentation, and for whoever wonders what a test saw."""
    PICTURES.mkdir(exist_ok=True)
    window.page.wait_for_timeout(700)  # until nothing is fading in
    window.page.screenshot(path=PICTURES / f"{name}.png")


def cursor(text: str) -> tuple[int, int]:
    """Where the bar is, counted from 1."""
    before = text.partition("|")[0].split("\n")
    return len(before), len(before[-1]) + 1


def language_servers(fake: FakeServer) -> list[int]:
    """The processes that were told this server's address."""
    found: list[int] = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                if fake.url.encode() in (each / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(each.name))
    return found
