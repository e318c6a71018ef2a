"""Our extension in a real VS Code: what is shown, taken, saved and said."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from acepilot.trail import Trail
from tests.e2e.own_server import MODEL_LOAD_S
from tests.e2e.vscode_editor import (
    LANGUAGE_SERVER,
    SIZE,
    SIZE_REST,
    SIZE_WHOLE,
    STATUS,
    CodeServer,
    Open,
    Window,
    cursor,
    language_servers,
    until,
)
from tests.lsp.fake_server import FakeServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

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
        ("size.py", "python", SIZE, " os.stat(", "path).st_size", " os.stat(path).st_size"),
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
    window = open_file(name, text)
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
    keys = {
        "ctrl+up": "acepilot.acceptWord",
        "ctrl+down": "acepilot.acceptLine",
        "ctrl+enter": "acepilot.accept",
    }
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
    window.press("Control+ArrowUp")
    until(lambda: window.saved() == "def load(path):\n    with \n", 10, window.saved)
    window.shows(whole)
    window.press("Control+ArrowDown")
    until(lambda: window.ghost() == "        return file.read()", 10, window.ghost)
    assert window.saved() == "def load(path):\n    with open(path) as file:\n\n"
    assert len(fake.seen) == 1  # the rest is known
    window.press("Control+Enter")
    until(lambda: window.saved() == whole, 10)


def test_the_next_candidate(open_file: Open, fake: FakeServer) -> None:
    window = open_file("size.py", SIZE, keys={"f8": "acepilot.next", "f9": "acepilot.trigger"})
    window.status("ready")
    fake.text = SIZE_REST
    fake.others = [" os.path.getsize(path)", " 0"]
    window.put_cursor(5, 11)
    window.press("F9")
    window.shows(SIZE_WHOLE)
    window.press("Alt+]")
    window.shows(SIZE.replace("|", fake.others[0]))
    window.press("F8")
    window.shows(SIZE.replace("|", fake.others[1]))
    window.press("Tab")
    assert window.saved() == SIZE.replace("|", fake.others[1])


def test_the_palette_offers_what_works_from_there(open_file: Open, fake: FakeServer) -> None:
    window = open_file("size.py", SIZE)
    window.status("ready")
    fake.text = SIZE_REST
    window.put_cursor(5, 11)
    window.command("Acepilot: Suggest Now")
    window.shows(SIZE_WHOLE)
    window.press("F1")
    box = window.page.locator(".quick-input-widget input")
    for gone in ("Accept Suggestion", "Accept Next Word", "Accept Next Line", "Next Candidate"):
        box.fill(f">Acepilot: {gone}")
        window.page.wait_for_timeout(500)
        expect(window.page.locator(".quick-input-list")).not_to_contain_text(f"Acepilot: {gone}")


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
    window.picture("vscode-down")
    fake.script = "loading"
    fake.start()
    assert "Patience." in window.status("loading")
    fake.script = "stream"
    window.status("ready")
    fake.text = "stat(path).st_size"
    window.press("Alt+\\")
    window.shows(SIZE_WHOLE)
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
        assert language_servers(fake) == {}
    window.command(f"Acepilot: {title}")
    window.status("ready")
    fake.text = "stat(path).st_size"
    window.put_cursor(5, 15)
    window.press("Alt+\\")
    window.shows(SIZE_WHOLE)
    window.press("Tab")
    assert window.saved() == SIZE_WHOLE


def test_a_token_is_kept_and_sent(open_file: Open, fake: FakeServer) -> None:
    fake.token = "open-sesame"
    fake.text = SIZE_REST
    window = open_file("size.py", SIZE)
    window.status("token refused")
    window.notification("refuses the token").get_by_text("Set the token").click()
    window.page.locator(".quick-input-widget input[type=password]").fill("open-sesame")
    window.press("Enter")
    window.status("ready")
    window.put_cursor(5, 11)
    window.press("Alt+\\")
    window.shows(SIZE_WHOLE)
    assert fake.seen[-1].authorization == "Bearer open-sesame"


def test_doctor_and_explanation(open_file: Open, fake: FakeServer, terminals: None) -> None:
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
    window.picture("vscode-menu")
    window.press("Escape")
    window.command("Acepilot: Get Started")
    guide = window.page.locator(".gettingStartedContainer")
    expect(guide).to_contain_text("Accept all, a word, or a line", timeout=20_000)
    guide.get_by_text("Accept all, a word, or a line").click()
    expect(guide.get_by_text("Suggest now")).to_be_visible()
    window.picture("vscode-walkthrough")


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
    window.picture("vscode")
    offered = window.ghost()
    window.press("Tab")
    assert f"const doubled = computed({offered}" in window.saved()
    window.close()
