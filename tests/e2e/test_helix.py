"""Acepilot in a real Helix, as editors/helix sets it up, over `python -m lsp` and the scripted server."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.e2e import debian_unstable
from tests.e2e.terminal import Terminal
from tests.lsp.fake_server import FakeServer

pytestmark = pytest.mark.e2e

CONFIG = Path(__file__).parents[2] / "editors" / "helix" / "languages.toml"


@pytest.fixture
def helix() -> str:
    """The program on the PATH, else Debian unstable's."""
    if found := shutil.which("hx"):
        return found
    root = debian_unstable.unpacked("hx", "Or put Helix on the PATH as hx.")
    return str(debian_unstable.launcher(root, "usr/lib/hx/hx", HELIX_RUNTIME="{root}/usr/lib/hx/runtime"))


def test_a_candidate_of_the_menu(helix: str, fake: FakeServer, tmp_path: Path) -> None:
    fake.text = "stat(path).st_size"
    (tmp_path / ".config" / "helix").mkdir(parents=True)
    shutil.copy(CONFIG, tmp_path / ".config" / "helix")
    program = tmp_path / "bin" / "acepilot-lsp"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lsp --server-url {fake.url} "$@"\n')
    program.chmod(0o755)
    file = tmp_path / "size.py"
    file.write_text("import os\n\npath = '.'\n")
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    with Terminal(
        [helix, str(file)], tmp_path, PATH=path, XDG_CONFIG_HOME=str(tmp_path / ".config")
    ) as session:
        session.until(lambda: b"mport" in session.drawn)  # the cursor is on its first letter
        session.keys("2josize = os.")

        def offered() -> bool:
            session.keys("\x18")  # Ctrl-x; of no use until the language server runs
            time.sleep(1)
            return b"stat(path).st_size" in session.drawn

        session.until(offered, lambda: session.drawn.decode(errors="replace"))
        for keys in ("\t", "\r", "\x1b", ":write\r"):  # at once, the escape would be an Alt for the colon
            session.keys(keys)
            time.sleep(0.5)
        session.until(lambda: "os.stat" in file.read_text(), file.read_text)
    assert file.read_text() == "import os\n\npath = '.'\nsize = os.stat(path).st_size\n"
