"""Acepilot's plugin in real Neovims, over `python -m lsp` and the scripted server.

In 0.11 the ghost text is the plugin's own, from 0.12 on it is the editor's.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.neovim_editor import PLUGIN, Neovim, neovim_011, neovim_012
from tests.lsp.fake_server import FakeServer

pytestmark = pytest.mark.e2e

PYTHON = "import os\n\n\ndef size(path):\n"
Open = Callable[..., Neovim]


@pytest.fixture(scope="module", params=["0.11", "0.12"])
def program(request: pytest.FixtureRequest) -> str:
    return neovim_011() if request.param == "0.11" else neovim_012()


@pytest.fixture
def opened(program: str, fake: FakeServer, tmp_path: Path) -> Iterator[Open]:
    """Neovim with a file open and the language server ready: `opened(text, name, init=...)`."""
    with ExitStack() as stack:

        def start(text: str, name: str = "size.py", init: str = "") -> Neovim:
            file = tmp_path / name
            file.write_bytes(text.encode())
            nvim = stack.enter_context(Neovim(program, tmp_path, file, fake.url, init=init))
            nvim.until_ready()
            return nvim

        yield start


def ghost_only(nvim: Neovim, text: str) -> None:
    """On the screen, but not in the buffer."""
    nvim.until_shown(text)
    assert text not in nvim.text


def test_a_completion_is_shown_and_tab_takes_it(fake: FakeServer, opened: Open) -> None:
    nvim = opened(PYTHON)
    nvim.keys("Go    return ")
    ghost_only(nvim, "    return os.stat(path).st_size")
    nvim.keys("<Tab>")
    nvim.until(lambda: nvim.text.endswith("    return os.stat(path).st_size"))
    nvim.keys("<Esc>:write<CR>")
    nvim.until(lambda: "st_size" in nvim.file.read_text())
    assert nvim.file.read_text() == PYTHON + "    return os.stat(path).st_size\n"
    nvim.until(lambda: nvim.said("workspace/executeCommand"))
    (accepted,) = nvim.said("workspace/executeCommand")
    assert accepted["command"] == "acepilot.accepted"
    assert nvim.said("textDocument/didPartiallyAcceptCompletion") == []
    assert fake.seen[-1].body.language == "python"


def test_tab_is_a_tab_where_nothing_is_shown(fake: FakeServer, opened: Open) -> None:
    fake.text = ""
    nvim = opened(PYTHON)
    nvim.keys("Gox<Tab>y")
    nvim.until(lambda: nvim.text.endswith("x   y"))


def test_the_completion_menu_is_left_alone(opened: Open) -> None:
    nvim = opened(PYTHON)
    capabilities = nvim.lua("vim.lsp.get_clients({ name = 'acepilot' })[1].server_capabilities")
    assert "completionProvider" not in capabilities
    assert "inlineCompletionProvider" in capabilities


def test_toggled_off_nothing_is_asked(fake: FakeServer, opened: Open) -> None:
    nvim = opened(PYTHON)
    nvim.keys(":Acepilot toggle<CR>")
    nvim.until(lambda: nvim.lua("require('acepilot').statusline()") == "Acepilot: disabled")
    nvim.keys("Go    return os")
    nvim.until(lambda: nvim.text.endswith("return os"))
    assert nvim.said("textDocument/inlineCompletion") == []
    nvim.keys("<Esc>:Acepilot toggle<CR>A")
    nvim.until_shown("st_size")
    assert fake.seen


def test_the_status_tells_state_and_reason(fake: FakeServer, opened: Open) -> None:
    nvim = opened(PYTHON)
    nvim.keys("Go    return ")
    nvim.until_shown("st_size")
    nvim.keys("<Esc>:Acepilot<CR>")
    nvim.until(lambda: "Acepilot: ready\nThe last request: A completion was offered." in nvim.told)
    fake.stop()
    nvim.keys("Go    x = ")
    nvim.until(lambda: nvim.status()["state"] == "off")
    nvim.keys("<Esc>:checkhealth acepilot<CR>")
    nvim.until_shown("State: off")
    assert nvim.status()["message"][:30] in nvim.text


def test_a_missing_program_is_told(program: str) -> None:
    init = "require('acepilot').setup { cmd = { '/nowhere/acepilot-lsp' } }"
    done = subprocess.run(
        [program, "--headless", "-u", "NONE", "-i", "NONE", f"+set rtp^={PLUGIN}", f"+lua {init}", "+q"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "/nowhere/acepilot-lsp is not a program here. Install Acepilot" in done.stdout + done.stderr


@pytest.mark.parametrize("program", ["0.11"], indirect=True)
class TestOwnGhostText:
    """What only the plugin's own ghost text does."""

    def test_typing_along_keeps_it_and_asks_nothing(self, fake: FakeServer, opened: Open) -> None:
        nvim = opened(PYTHON)
        nvim.keys("Go    return ")
        nvim.until_shown("return os.stat(path).st_size")
        asked = len(nvim.said("textDocument/inlineCompletion"))
        marks = "#vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace('acepilot'), 0, -1, {})"
        for typed in "os.stat(":
            nvim.keys(typed)
            assert "return os.stat(path).st_size" in nvim.screen
            assert nvim.lua(marks) == 1
        assert nvim.text.endswith("return os.stat(")
        assert len(nvim.said("textDocument/inlineCompletion")) == asked
        nvim.keys("<BS>")
        assert "return os.stat(path).st_size" in nvim.screen
        fake.text = "le))"
        nvim.keys("[fi")
        nvim.until_shown("return os.stat[file))")
        assert len(nvim.said("textDocument/didShowCompletion")) == 2

    def test_several_lines_by_word_by_line_and_whole(self, fake: FakeServer, opened: Open) -> None:
        fake.text = "if path is None:\n        return 0\n    return os.stat(path).st_size"
        nvim = opened(PYTHON)
        nvim.keys("Go    ")
        nvim.until_shown("    if path is None:\n        return 0\n    return os.stat(path).st_size")
        assert nvim.text == PYTHON + "    "
        nvim.keys("<M-Right>")
        nvim.until(lambda: nvim.text.endswith("\n    if"))
        nvim.keys("<M-Right>")
        nvim.until(lambda: nvim.text.endswith("\n    if path"))
        nvim.keys("<M-Down>")
        nvim.until(lambda: nvim.text.endswith("\n    if path is None:"))
        assert "        return 0\n    return os.stat(path).st_size" in nvim.screen
        nvim.keys("<M-Down>")
        nvim.until(lambda: nvim.text.endswith("\n        return 0"))
        nvim.keys("<Tab>")
        nvim.until(lambda: nvim.text == PYTHON + "    " + fake.text)
        told = nvim.said("textDocument/didPartiallyAcceptCompletion")
        assert [one["acceptedLength"] for one in told] == [2, 7, 16, 33]
        assert all(one["item"]["insertText"] == fake.text for one in told)
        assert len(nvim.said("textDocument/didShowCompletion")) == 1
        nvim.until(lambda: len(nvim.said("workspace/executeCommand")) == 1)

    def test_lengths_are_utf_16(self, fake: FakeServer, opened: Open) -> None:
        fake.text = "'😀' + name"
        nvim = opened(PYTHON)
        nvim.keys("Go    x = '漢' + ")
        nvim.until_shown("'😀' + name")
        for taken in ("'", "'😀", "'😀'"):
            nvim.keys("<M-Right>")
            nvim.until(lambda taken=taken: nvim.text.endswith(f"'漢' + {taken}"), lambda: nvim.text)
        told = nvim.said("textDocument/didPartiallyAcceptCompletion")
        assert [one["acceptedLength"] for one in told] == [1, 3, 4]
        nvim.keys("<Tab>")
        nvim.until(lambda: nvim.text.endswith("x = '漢' + '😀' + name"))

    @pytest.mark.parametrize("by", ["<Tab>", "<M-Right>"])
    def test_closed_brackets_are_replaced(self, fake: FakeServer, opened: Open, by: str) -> None:
        fake.text = "(value) => value * 2)"
        nvim = opened("function double(values) {\n  return values.map()\n}\n", "double.ts")
        nvim.keys("2G$i")
        nvim.until_shown("  return values.map((value) => value * 2)")
        assert "* 2))" not in nvim.screen
        want = "  return values.map((value) => value * 2)"
        for _ in range(20):
            nvim.keys(by)
            if nvim.text.split("\n")[1] == want:
                break
        nvim.until(lambda: nvim.text.split("\n")[1] == want, lambda: nvim.text)

    def test_text_that_replaces_a_line_end_moves_the_rest(self, fake: FakeServer, opened: Open) -> None:
        fake.text = "x > 3) {\n  return"
        nvim = opened("if () foo\nend\n", "a.js")
        nvim.keys("1G5|i")
        nvim.until_shown("if (x > 3) {\n  return foo\nend")
        nvim.keys("<M-Down>")
        nvim.until(lambda: nvim.text.split("\n")[0] == "if (x > 3) { foo", lambda: nvim.text)
        nvim.keys("<Tab>")
        nvim.until(lambda: nvim.text == "if (x > 3) {\n  return foo\nend", lambda: nvim.text)

    def test_line_ends_of_a_dos_file(self, fake: FakeServer, opened: Open) -> None:
        fake.text = "if path:\n        return 1"
        nvim = opened(PYTHON.replace("\n", "\r\n"))
        nvim.keys("Go    ")
        nvim.until_shown("    if path:\n        return 1")
        nvim.keys("<M-Down><M-Down>")
        nvim.until(lambda: nvim.text.endswith("    if path:\n        return 1"))
        nvim.keys("<Esc>:write<CR>")
        nvim.until(lambda: b"return 1" in nvim.file.read_bytes())
        assert nvim.file.read_bytes().endswith(b"    if path:\r\n        return 1\r\n")

    def test_one_undo_takes_the_completion_back(self, opened: Open) -> None:
        nvim = opened(PYTHON)
        nvim.keys("Go    return ")
        nvim.until_shown("st_size")
        nvim.keys("<Tab>")
        nvim.until(lambda: "st_size" in nvim.text)
        nvim.keys("<Esc>u")
        nvim.until(lambda: nvim.text == PYTHON + "    return ", lambda: nvim.text)

    def test_dismissed_it_is_gone_until_more_is_typed(self, opened: Open) -> None:
        nvim = opened(PYTHON)
        nvim.keys("Go    return ")
        nvim.until_shown("st_size")
        nvim.keys("<C-]>")
        nvim.until_gone("st_size")
        nvim.keys("o")
        nvim.until_shown("st_size")
        nvim.keys("<Esc>")
        nvim.until_gone("st_size")

    def test_the_next_candidate_is_asked_for_by_hand(self, fake: FakeServer, opened: Open) -> None:
        fake.others = ["path.stat().st_size"]
        nvim = opened(PYTHON)
        nvim.keys("Go    return ")
        nvim.until_shown("return os.stat(path).st_size")
        nvim.keys("<M-]>")
        nvim.until_shown("return path.stat().st_size")
        assert nvim.said("textDocument/inlineCompletion")[-1]["context"] == {"triggerKind": 1}
        nvim.keys("<M-]>")
        nvim.until_shown("return os.stat(path).st_size")
        nvim.keys("<M-]>")
        nvim.until_shown("return path.stat().st_size")
        nvim.keys("<Tab>")
        nvim.until(lambda: nvim.text.endswith("return path.stat().st_size"))
        nvim.until(lambda: nvim.said("workspace/executeCommand"))
        shown = [one["item"] for one in nvim.said("textDocument/didShowCompletion")]
        assert [item["insertText"] for item in shown] == [fake.text, *fake.others]
        assert nvim.said("workspace/executeCommand")[0]["arguments"] == shown[1]["command"]["arguments"]

    def test_without_another_candidate_it_says_so(self, opened: Open) -> None:
        nvim = opened(PYTHON)
        nvim.keys("Go    return ")
        nvim.until_shown("st_size")
        nvim.keys("<M-]>")
        nvim.until(lambda: "Acepilot has no other completion here" in nvim.told)
        assert "return os.stat(path).st_size" in nvim.screen


@pytest.mark.parametrize("program", ["0.12"], indirect=True)
class TestNeovimsGhostText:
    """Our keys over vim.lsp.inline_completion."""

    def test_several_lines_by_word_by_line_and_whole(self, fake: FakeServer, opened: Open) -> None:
        fake.text = "if path is None:\n        return 0\n    return os.stat(path).st_size"
        nvim = opened(PYTHON)
        nvim.keys("Go    ")
        nvim.until_shown("    if path is None:\n        return 0\n    return os.stat(path).st_size")
        nvim.keys("<M-Right>")
        nvim.until(lambda: nvim.text.endswith("\n    if"))
        nvim.until_shown("    if path is None:\n        return 0\n    return os.stat(path).st_size")
        nvim.keys("<M-Down>")
        nvim.until(lambda: nvim.text.endswith("\n    if path is None:"))
        nvim.until_shown("        return 0\n    return os.stat(path).st_size")
        nvim.keys("<Tab>")
        nvim.until(lambda: nvim.text == PYTHON + "    " + fake.text)
        nvim.until(lambda: len(nvim.said("workspace/executeCommand")) == 1)
        told = nvim.said("textDocument/didPartiallyAcceptCompletion")
        assert [one["acceptedLength"] for one in told] == [2, 14]

    def test_closed_brackets_are_replaced(self, fake: FakeServer, opened: Open) -> None:
        fake.text = "(value) => value * 2)"
        nvim = opened("function double(values) {\n  return values.map()\n}\n", "double.ts")
        nvim.keys("2G$i")
        nvim.until_shown("  return values.map((value) => value * 2)")
        nvim.keys("<Tab>")
        want = "  return values.map((value) => value * 2)"
        nvim.until(lambda: nvim.text.split("\n")[1] == want, lambda: nvim.text)

    def test_dismissed_it_is_gone_until_more_is_typed(self, opened: Open) -> None:
        nvim = opened(PYTHON)
        nvim.keys("Go    return ")
        nvim.until_shown("st_size")
        nvim.keys("<C-]>")
        nvim.until_gone("st_size")
        nvim.keys("o")
        nvim.until(lambda: nvim.text.endswith("o"))
        nvim.keys("s")  # Neovim, on again, asks at the second key
        nvim.until_shown("st_size")

    def test_toggled_off_it_goes(self, opened: Open) -> None:
        nvim = opened(PYTHON)
        nvim.keys("Go    return ")
        nvim.until_shown("st_size")
        nvim.keys("<C-o>:Acepilot toggle<CR>")
        nvim.until_gone("st_size")
