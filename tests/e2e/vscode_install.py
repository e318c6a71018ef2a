"""What a real VS Code needs, beside Node: code-server, our extension, and a stand-in for Vue's.

code-server is VS Code itself, served to a browser. It comes from npm, and its native parts are left out, but
for the one that terminals and logs depend on; where there is no C++ compiler, that one too.
"""

import shutil
import tarfile
from pathlib import Path

from tests.e2e.fetched import Node, kept, run

CODE_SERVER = "4.139.1"
EXTENSION = Path(__file__).parents[2] / "editors" / "vscode"
LOG_WRITER = "lib/vscode/node_modules/@vscode/spdlog"
VUE = Path(__file__).parent / "vscode" / "vue"


def code_server(node: Node) -> Path:
    """The folder that it is in."""

    def fetch(folder: Path) -> None:
        node.npm("pack", "--silent", f"code-server@{CODE_SERVER}", at=folder)
        (packed,) = folder.glob("*.tgz")
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
        packed.unlink()
        for part in (".", "lib/vscode", "lib/vscode/extensions"):
            node.npm("install", "--omit=dev", "--ignore-scripts", at=folder / "package" / part)

    program = kept(f"code-server-{CODE_SERVER}", fetch) / "package"
    if not has_terminals(program) and shutil.which("g++") and shutil.which("make"):
        npm = node.prefix / "lib" / "node_modules" / "npm"
        gyp = npm / "node_modules" / "node-gyp" / "bin" / "node-gyp.js"
        run([str(node.program), str(gyp), "rebuild", f"--nodedir={node.prefix}"], program / LOG_WRITER)
    return program


def has_terminals(program: Path) -> bool:
    """And logs: they depend on code that is compiled here."""
    return any((program / LOG_WRITER).glob("build/Release/*.node"))


def extensions(node: Node, folder: Path) -> list[Path]:
    """Ours, built from what is in the working tree, and a stand-in for the one that Vue's users have."""
    if not (EXTENSION / "node_modules").exists():
        node.npm("ci", at=EXTENSION)
    vue = folder / "vue.vsix"
    flags = ["--no-dependencies", "--allow-missing-repository", "--skip-license"]
    node.npm("run", "--silent", "package", at=EXTENSION)
    node.npm("exec", "--prefix", str(EXTENSION), "--", "vsce", "package", *flags, f"--out={vue}", at=VUE)
    return [EXTENSION / "acepilot.vsix", vue]
