"""Run the tests with library versions other than the locked ones, and name the library that broke each test.

python -m dev.try_versions newest    the newest that pyproject.toml allows: a new install (make newest)
python -m dev.try_versions lowest    the lowest that pyproject.toml allows (make lowest)
python -m dev.try_versions newest -- tests/server -k health      only these tests

The libraries are installed in build/newest or build/lowest. A test that fails there and passes with the lock
runs again with one changed library at a time put back to its locked version: the library with which the test
passes again is the one that broke it.
"""

import argparse
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

from packaging.utils import canonicalize_name

from acepilot.cli import program
from acepilot.errors import AcepilotError
from dev.lock import FOLDER, ROOT, pins

BROKEN = 1


class InstallFailed(AcepilotError):
    """pip or uv could not install what pyproject.toml allows."""

    code = "install_failed"


@dataclass(frozen=True)
class Change:
    """A library whose version differs from the locked one. None: the library is missing on that side."""

    name: str
    locked: str | None
    found: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.locked or 'none'} -> {self.found or 'none'}"


@program()
def main() -> int:
    """Exit code 0 when every test passes, 1 when a library broke one."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.try_versions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("which", choices=("newest", "lowest"))
    parser.add_argument("tests", nargs="*", help="arguments for pytest, after `--`; all tests if left out")
    given = parser.parse_args()
    folder = ROOT / "build" / given.which
    python = make_environment(folder, given.which)
    changes = changed(installed(python))
    print(f"{len(changes)} of the locked libraries have another version:")
    for change in changes:
        print(f"  {change}")
    failed = failing(python, folder, given.tests)
    if not failed:
        print(f"Every test passes with the {given.which} libraries.")
        return 0
    print(f"{len(failed)} tests fail. Running them with the locked versions ...", flush=True)
    locked_too = failing(Path(sys.executable), folder, sorted(failed))
    for test in sorted(locked_too):
        print(f"  fails with the locked versions too: {test}")
    broken = {test: text for test, text in failed.items() if test not in locked_too}
    for change, tests in blame(python, folder, changes, broken).items():
        print(
            f"{change} broke:"
            if change
            else "No single library broke these; they may depend on chance or on other tests:"
        )
        for test in tests:
            print(f"  {test}")
    return BROKEN


def make_environment(folder: Path, which: str) -> Path:
    """Install `.[dev]` in a new environment, and return its Python. Raises InstallFailed."""
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Installing the {which} libraries in {folder} ...", flush=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    if which == "newest":
        run_installer(python, "--upgrade", "pip")
        run_installer(python, "--editable", f"{ROOT}[dev]")
        return python
    # Only uv can resolve to the lowest versions. pip installs torch first, as uv ignores pip's settings.
    run_installer(python, "--requirement", str(FOLDER / "torch.txt"))
    uv = Path(sys.executable).with_name("uv")
    _run(
        [uv, "pip", "install", "--python", python, "--resolution=lowest-direct", "--editable", f"{ROOT}[dev]"]
    )
    return python


def run_installer(python: Path, *what: str) -> None:
    _run([python, "-m", "pip", "install", "--quiet", "--quiet", *what])


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallFailed(f"{' '.join(map(str, command))} failed:\n{done.stderr.strip()}")


def installed(python: Path) -> dict[str, str]:
    """Return the version of each installed package by canonical name."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    ).stdout
    packages = cast("list[dict[str, str]]", json.loads(listed))
    return {canonicalize_name(package["name"]): package["version"] for package in packages}


def changed(found: Mapping[str, str]) -> list[Change]:
    """Return the libraries whose version differs from the lock, for this Python and machine."""
    locked = {
        name: str(pin.specifier).removeprefix("==")
        for name, several in pins("dev").items()
        for pin in several
        if pin.marker is None or pin.marker.evaluate()
    }
    unmanaged = {"acepilot", "pip", "torch", "wheel"}  # the version of torch names its build as well
    return [
        Change(name, locked.get(name), found.get(name))
        for name in sorted((locked.keys() | found.keys()) - unmanaged)
        if locked.get(name) != found.get(name)
    ]


def failing(python: Path, folder: Path, tests: Sequence[str]) -> dict[str, str]:
    """Run pytest, and return the tests that fail: id -> its tracebacks."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    # Only xunit1 reports name the file, which is needed to run a test again.
    command = [
        python, "-m", "pytest", "-q", "--continue-on-collection-errors", f"--junitxml={report}",
        "-o", "junit_family=xunit1", *tests,
    ]  # fmt: skip
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code not in (0, 1) or not report.is_file():
        raise AcepilotError(f"pytest ended with code {code} before it had run the tests; see above.")
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        tracebacks = [node.text or "" for node in case if node.tag in ("failure", "error")]
        if tracebacks:
            found[name_of(case)] = "\n".join(tracebacks)
    return found


def name_of(case: ElementTree.Element) -> str:
    """Return the test's id for pytest, `file::Class::name`; the file alone if it cannot be imported."""
    file, name = case.get("file"), case.get("name", "")
    if file is None:
        return name.replace(".", "/") + ".py"
    module = file.removesuffix(".py").replace("/", ".")
    classes = case.get("classname", "").removeprefix(module).strip(".").replace(".", "::")
    return "::".join(part for part in (file, classes, name) if part)


def blame(
    python: Path, folder: Path, changes: Sequence[Change], broken: Mapping[str, str]
) -> dict[Change | None, list[str]]:
    """Return the tests that each library broke; under None, the tests that no single library repairs."""
    found: dict[Change | None, list[str]] = {}
    left = dict(broken)
    tracebacks = "\n".join(broken.values())
    # Libraries that the tracebacks name are tried first.
    for change in sorted(changes, key=lambda change: -tracebacks.count(f"/{change.name.replace('-', '_')}/")):
        if not left:
            break
        if change.locked is None or change.found is None:
            continue
        print(f"Trying {change.name} {change.locked} ...", flush=True)
        run_installer(python, "--no-deps", f"{change.name}=={change.locked}")
        repaired = sorted(left.keys() - failing(python, folder, sorted(left)).keys())
        run_installer(python, "--no-deps", f"{change.name}=={change.found}")
        if repaired:
            found[change] = repaired
            for test in repaired:
                del left[test]
    if left:
        found[None] = sorted(left)
    return found


if __name__ == "__main__":
    sys.exit(main())
