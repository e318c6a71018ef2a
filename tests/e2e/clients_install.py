"""Other people's clients, as published: what test_clients.py runs."""

import json
import sys
from pathlib import Path

from tests.e2e.fetched import Node, kept, run


def npm_folder(name: str, *packages: str) -> Path:
    """`node_modules` with these packages."""

    def fetch(folder: Path) -> None:
        Node().npm("install", "--prefix", str(folder), "--ignore-scripts", *packages, at=folder)

    return kept(name, fetch) / "node_modules"


def entry_of(modules: Path, package: str) -> Path:
    """The program that an npm package installs."""
    folder = modules / package
    (program,) = json.loads((folder / "package.json").read_text())["bin"].values()
    return folder / program


def python_program(name: str, program: str, *packages: str) -> Path:
    """A program in a virtual environment of its own."""

    def fetch(folder: Path) -> None:
        run([sys.executable, "-m", "venv", str(folder)], folder)
        run(
            [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages],
            folder,
        )

    return kept(name, fetch) / "bin" / program
