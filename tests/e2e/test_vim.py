"""llama.vim in a real Vim, in a terminal of its own, over this server's `/infill`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import debian_unstable
from tests.e2e.terminal import Terminal
from tests.needs import need_program
from tests.server.conftest import RunningServer, ScriptedEngine

pytestmark = pytest.mark.e2e

CONFIG = Path(__file__).parents[2] / "editors" / "vim" / "acepilot.vim"
PYTHON = "import os\n\n\ndef size(path):\n"

VIMRC = """\
set nocompatible noswapfile viminfo= autoindent expandtab shiftwidth=4 backspace=indent,eol,start
set packpath^={folder}
source {config}
let g:llama_config.endpoint_fim = '{url}/infill'
function Screen(timer)
  let rows = []
  for row in range(1, &lines)
    let cells = map(range(1, &columns), {{_, column -> screenstring(row, column)}})
    call add(rows, substitute(join(cells, ''), ' *$', '', ''))
  endfor
  call writefile(rows + ['END'], '{folder}/screen')
endfunction
call timer_start(100, 'Screen', {{'repeat': -1}})
"""


@pytest.fixture
def plugin() -> Path:
    """The folder named by ACEPILOT_TEST_LLAMA_VIM, else Debian unstable's package."""
    for program in ("vim", "curl"):
        need_program(program, f"apt-get install {program}")
    if given := os.environ.get("ACEPILOT_TEST_LLAMA_VIM"):
        return Path(given)
    otherwise = "Or clone llama.vim, and name its folder in ACEPILOT_TEST_LLAMA_VIM."
    root = debian_unstable.unpacked("vim-llama.cpp", otherwise, alone=True)
    (script,) = root.rglob("autoload/llama.vim")
    return script.parents[1]


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(script="os.stat(path).st_size")


@pytest.fixture
def vim(plugin: Path, engine: ScriptedEngine, tmp_path: Path) -> Iterator["Vim"]:
    file = tmp_path / "size.py"
    file.write_text(PYTHON)
    package = tmp_path / "pack" / "acepilot" / "opt" / "llama.vim"
    package.parent.mkdir(parents=True)
    package.symlink_to(plugin, target_is_directory=True)
    with RunningServer(engine) as server:
        (tmp_path / "vimrc").write_text(VIMRC.format(config=CONFIG, url=server.url, folder=tmp_path))
        with Vim(tmp_path, file) as session:
            session.until_shown("def size(path):")
            yield session


class Vim(Terminal):
    def __init__(self, folder: Path, file: Path) -> None:
        super().__init__(["vim", "-N", "-u", str(folder / "vimrc"), str(file)], folder)
        self.file = file
        self._screen = folder / "screen"

    @property
    def screen(self) -> str:
        """Empty where Vim is just writing it."""
        seen = self._screen.read_text() if self._screen.exists() else ""
        return seen.removesuffix("END\n") if seen.endswith("END\n") else ""

    def until_shown(self, text: str) -> None:
        self.until(lambda: text in self.screen, lambda: self.screen)


def test_a_completion_is_shown_and_tab_takes_it(vim: Vim, engine: ScriptedEngine) -> None:
    vim.keys("Go    return ")
    vim.until_shown("    return os.stat(path).st_size")
    vim.keys("\t")
    vim.until_shown("    return os.stat(path).st_size")
    vim.keys("\x1b:write\r")
    vim.until(lambda: "st_size" in vim.file.read_text())
    assert vim.file.read_text() == PYTHON + "    return os.stat(path).st_size\n"
    assert any("def size(path):" in prompt for prompt in engine.prompts)


def test_a_line_of_several_is_taken(vim: Vim, engine: ScriptedEngine) -> None:
    engine.script = "    if path is None:\n        return 0"  # llama.vim asks for the indentation, too
    vim.keys("Go    x = 1\r")
    vim.until_shown("    if path is None:")
    vim.until_shown("return 0")
    vim.keys("\x1b[Z")  # Shift-Tab
    vim.until(lambda: vim.screen.count("None") == 1)
    vim.keys("\x1b:write\r")
    vim.until(lambda: "None" in vim.file.read_text())
    assert "    if path is None:\n" in vim.file.read_text()
    assert "return 0" not in vim.file.read_text()
