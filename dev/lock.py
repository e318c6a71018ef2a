"""Write requirements/: the tested versions with their hashes, which make and the images install.

python -m dev.lock                           after a change in pyproject.toml: keep the versions that fit
python -m dev.lock --upgrade                 every package to the newest that pyproject.toml allows
python -m dev.lock --upgrade-package NAME    move one package

docs/dependencies.md says when to run each, and which tests to run before and after.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from acepilot.cli import program
from acepilot.errors import AcepilotError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
ALL = "dev"
LOCKS = {
    ALL: ["dev"],
    "run": ["server", "lsp"],
    "image": ["server", "postgres", "upstream"],
    "image-cuda": ["server", "postgres", "upstream", "torch"],
}
"""Lock file -> extras. `dev` has every extra; the other files take their versions from it."""
INSTALLERS = ("pip", "setuptools", "wheel")
"""The packages that install and build the others, locked in `pip.txt`."""

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
MACHINES = ("x86_64", "aarch64")
NEWEST_GLIBC_MINOR = 36
"""The minor version of Debian 12's glibc, 2.36: a wheel that needs a newer glibc does not install there."""
SIMPLE_INDEX = "https://pypi.org/simple"


class LockFailed(AcepilotError):
    """uv found no versions that fit together, or the package index did not answer."""

    code = "lock_failed"


@program()
def main() -> int:
    """Exit code 1 when no versions fit together; requirements/ is unchanged then."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.lock", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="store_true", help="move every package")
    parser.add_argument(
        "--upgrade-package", action="append", default=[], metavar="NAME", help="move this package"
    )
    given = parser.parse_args()
    moves = ["--upgrade"] if given.upgrade else []
    moves += [f"--upgrade-package={name}" for name in given.upgrade_package]
    before = pins(ALL) if (FOLDER / f"{ALL}.txt").is_file() else {}
    compile_lock(ALL, moves)
    same = [f"--constraint={FOLDER / ALL}.txt"]
    for name in (*LOCKS, "pip"):
        if name != ALL:
            compile_lock(name, [*moves, *same])
    after = pins(ALL)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            print(f"{name}: {_listed(before.get(name))} -> {_listed(after.get(name))}")
    print(f"{len(after)} packages are locked in {FOLDER}.")
    for line in without_wheels({**after, **pins("torch")}):
        print(line)
    return 0


def compile_lock(name: str, flags: list[str]) -> None:
    """Write one lock file, without torch: its builds differ by index, so torch.txt has its version alone."""
    extras = [f"--extra={extra}" for extra in LOCKS.get(name, [])]
    source = ["pyproject.toml", *extras] if extras else ["-"]
    command = [
        Path(sys.executable).with_name("uv"), "pip", "compile", *source, *flags, "--universal",
        "--python-version=3.11", "--generate-hashes", "--no-emit-package=torch", "--no-annotate",
        "--no-header", "--quiet", f"--output-file={FOLDER / name}.txt",
    ]  # fmt: skip
    given = "" if extras else "\n".join(INSTALLERS)
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False, cwd=ROOT)
    if done.returncode:
        raise LockFailed(f"requirements/{name}.txt was not written: {done.stderr.strip()}")


def pins(name: str) -> dict[str, list[Requirement]]:
    """Return the pins of requirements/NAME.txt by canonical package name; several where markers differ."""
    found: dict[str, list[Requirement]] = {}
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            pin = Requirement(line.removesuffix("\\"))
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def _listed(found: list[Requirement] | None) -> str:
    return ", ".join(f"{pin.specifier}"[2:] for pin in found) if found else "none"


def without_wheels(found: dict[str, list[Requirement]]) -> Iterator[str]:
    """Yield a line for each pin that lacks a wheel for one of PYTHONS on one of MACHINES."""
    with httpx.Client(headers={"Accept": "application/vnd.pypi.simple.v1+json"}, timeout=30) as index:
        for name, several in found.items():
            answer = index.get(f"{SIMPLE_INDEX}/{name}/", follow_redirects=True)
            answer.raise_for_status()
            files = [file["filename"] for file in answer.json()["files"]]
            for pin in several:
                version = f"{pin.specifier}"[2:]
                missing = [
                    f"{major}.{minor} {machine}"
                    for major, minor in PYTHONS
                    for machine in MACHINES
                    if is_wanted(pin, (major, minor), machine)
                    and not has_wheel(files, version, (major, minor), machine)
                ]
                if len(missing) == len(PYTHONS) * len(MACHINES):
                    yield f"{name} {version}: no wheels: pip builds it from source"
                elif missing:
                    yield f"{name} {version}: no wheel for {', '.join(missing)}"


def is_wanted(pin: Requirement, python: tuple[int, int], machine: str) -> bool:
    """Return whether the marker of `pin` lets it be installed on Linux."""
    version = f"{python[0]}.{python[1]}"
    place = {
        "python_version": version, "python_full_version": f"{version}.9", "platform_machine": machine,
        "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip
    return pin.marker is None or pin.marker.evaluate(place)


def has_wheel(files: list[str], version: str, python: tuple[int, int], machine: str) -> bool:
    """Return whether one of `files` is a wheel of `version` that installs on Debian 12 or newer."""
    glibcs = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC_MINOR, 4, -1)]
    platforms = [*glibcs, f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    platforms.append(f"linux_{machine}")
    fitting = {
        *tags.cpython_tags(python, platforms=platforms),
        *tags.compatible_tags(python, f"cp{python[0]}{python[1]}", platforms),
    }
    for file in files:
        try:
            _, found, _, wheel_tags = parse_wheel_filename(file)
        except InvalidWheelFilename:
            continue  # a source archive
        if str(found) == version and wheel_tags & fitting:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
