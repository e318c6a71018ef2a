"""Our extension in a real VS Code: which language server runs, how many, and who decides."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.vscode_editor import (
    LANGUAGE_SERVER,
    SIZE,
    SIZE_REST,
    SIZE_WHOLE,
    CodeServer,
    Open,
    Window,
    language_servers,
    until,
)
from tests.lsp.fake_server import FakeServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SLOW = [sys.executable, "-c", "import time; time.sleep(3); import lsp.__main__; lsp.__main__.main()"]
"""A language server that takes a while to start."""


def own_settings(tmp_path: Path, **settings: object) -> Path:
    """A project's own settings, as whoever clones it gets them."""
    own = tmp_path / "project" / ".vscode" / "settings.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({f"acepilot.{name}": value for name, value in settings.items()}))
    return own


def test_a_workspace_cannot_turn_on_what_the_user_turned_off(
    open_file: Open, fake: FakeServer, tmp_path: Path
) -> None:
    own = own_settings(tmp_path, enabled=True, command=["/bin/false"], disabledLanguages=[])
    before = own.read_text()
    window = open_file("size.py", SIZE, enabled=False, disabledLanguages=["python"])
    assert "in the user's settings" in window.status("off")
    window.command("Acepilot: Toggle for This Workspace")
    window.notification("it is off everywhere").get_by_text("Turn on everywhere").click()
    window.status("off for python")
    assert own.read_text() == before
    window.put_cursor(5, 11)
    window.press("Alt+\\")
    window.page.wait_for_timeout(2_000)
    assert fake.seen == []
    window.command("Acepilot: Toggle for This Language")
    window.status("ready")  # with the user's program, not with the workspace's


def test_a_workspace_can_turn_a_language_off(open_file: Open, tmp_path: Path) -> None:
    own_settings(tmp_path, disabledLanguages=["python"])
    window = open_file("size.py", SIZE, disabledLanguages=["python", "vue"])
    window.status("off for python")
    window.command("Acepilot: Toggle for This Language")
    window.notification("python stays off here")
    window.status("off for python")


def test_a_missing_program_is_said_with_a_remedy(open_file: Open) -> None:
    window = open_file("size.py", SIZE, command=["/nowhere/acepilot-lsp"])
    assert "acepilot.command says /nowhere/acepilot-lsp" in window.status("not found")
    window.notification("there is no such program").get_by_text("Open settings").click()
    expect(window.page.locator(".settings-editor")).to_contain_text("Server Url", timeout=20_000)


def test_without_a_choice_the_virtual_environment_s_program_runs(open_file: Open, fake: FakeServer) -> None:
    window = open_file("size.py", SIZE, command=[])
    window.status("ready")
    (words,) = language_servers(fake).values()
    assert str(Path(sys.prefix) / "bin" / "acepilot-lsp") in words


def test_a_language_server_that_ends_at_once_is_said(
    open_file: Open, code_server: CodeServer, terminals: None
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
    until(lambda: language_servers(fake).keys() not in (set(), {first}), 20)
    window.status("ready")
    fake.text = SIZE_REST
    window.put_cursor(5, 11)
    window.press("Alt+\\")
    window.shows(SIZE_WHOLE)


def test_a_language_server_that_dies_again_and_again_is_given_up(open_file: Open, fake: FakeServer) -> None:
    window = open_file("size.py", SIZE, command=SLOW)
    for count in range(1, 6):
        window.status("ready", timeout_s=30)
        (running,) = language_servers(fake)
        os.kill(running, signal.SIGKILL)
        window.status("failed" if count == 5 else "starting")
    assert "ended 5 times" in window.status("failed")
    assert language_servers(fake) == {}
    window.command("Acepilot: Restart")
    window.status("ready", timeout_s=30)


@pytest.mark.parametrize(
    ("title", "state", "left"), [("Toggle Everywhere", "off", 0), ("Restart", "ready", 1)]
)
def test_what_is_said_while_the_language_server_comes_back(
    open_file: Open, fake: FakeServer, title: str, state: str, left: int
) -> None:
    window = open_file("size.py", SIZE, command=SLOW)
    window.status("ready")
    (first,) = language_servers(fake)
    os.kill(first, signal.SIGKILL)
    until(lambda: language_servers(fake).keys() not in (set(), {first}), 20)
    (second,) = language_servers(fake)
    window.command(f"Acepilot: {title}")
    until(lambda: second not in language_servers(fake), 20)
    window.status(state, timeout_s=30)
    window.page.wait_for_timeout(5_000)  # time enough for one that was forgotten
    window.status(state)
    assert len(language_servers(fake)) == left


def test_versions_that_differ_are_said(open_file: Open, fake: FakeServer) -> None:
    later = "import lsp.server, lsp.__main__; lsp.server.version = lambda _: '9.9.9'; lsp.__main__.main()"
    window = open_file("size.py", SIZE, command=[sys.executable, "-c", later])
    assert "The language server is 9.9.9 and this extension" in window.status("ready")
    window.notification("Install the same version of both")


def test_two_folders_have_one_language_server(
    page: Page, code_server: CodeServer, fake: FakeServer, tmp_path: Path
) -> None:
    space = folders(tmp_path, "one", "two")
    code_server.set_up({"acepilot.command": LANGUAGE_SERVER, "acepilot.serverUrl": fake.url})
    window = open_workspace(page, code_server, space, tmp_path / "two" / "src" / "size.py")
    fake.text = "stat(path).st_size"
    window.put_cursor(5, 11)
    window.type(" os.")
    window.shows(SIZE_WHOLE)
    assert fake.seen[-1].body.path == "src/size.py"
    until(lambda: len(language_servers(fake)) == 1, 20)
    window.close()
    until(lambda: language_servers(fake) == {}, 20)


def test_a_folder_is_added(page: Page, code_server: CodeServer, fake: FakeServer, tmp_path: Path) -> None:
    space = folders(tmp_path, "one")
    code_server.set_up({"acepilot.command": LANGUAGE_SERVER, "acepilot.serverUrl": fake.url})
    window = open_workspace(page, code_server, space, tmp_path / "two" / "src" / "size.py")
    fake.text = " 0"
    window.put_cursor(5, 11)
    window.press("Alt+\\")
    window.shows(SIZE.replace("|", " 0"))
    assert fake.seen[-1].body.path == "size.py"
    until(lambda: len(language_servers(fake)) == 1, 20)
    before = language_servers(fake)
    folders(tmp_path, "one", "two")
    expect(page.locator(".explorer-folders-view")).to_contain_text("two", timeout=20_000)
    fake.text = "stat(path).st_size"
    window.type(" os.")
    window.shows(SIZE_WHOLE)
    assert fake.seen[-1].body.path == "src/size.py"
    assert language_servers(fake) == before
    window.close()


def open_workspace(page: Page, code_server: CodeServer, space: Path, file: Path) -> Window:
    """VS Code in a browser now and then (one in six) does not read the folders: then it is asked again."""
    for _ in range(6):
        window = Window(page, code_server, space, file)
        window.status("ready")
        with suppress(AssertionError):
            expect(page.locator(".explorer-folders-view")).to_contain_text("one", timeout=5_000)
            return window
        window.close()
    pytest.fail("VS Code does not read the workspace's folders")


def folders(parent: Path, *names: str) -> Path:
    """A workspace of these; the file src/size.py is in "one" and in "two"."""
    for name in ("one", "two"):
        (parent / name / "src").mkdir(parents=True, exist_ok=True)
        (parent / name / "src" / "size.py").write_text(SIZE.replace("|", ""))
    space = parent / "some.code-workspace"
    space.write_text(json.dumps({"folders": [{"path": name} for name in names]}))
    return space
