"""requirements/ is what pyproject.toml asks for; try_versions.py says which library broke which test."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dev import try_versions
from dev.lock import FOLDER, LOCKS, MACHINES, PYTHONS, ROOT, has_wheel, is_wanted, pins
from dev.try_versions import Change, blame, name_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKED = sorted({*LOCKS, "pip"})


def asked(extras: list[str]) -> set[str]:
    """What pyproject.toml asks for with these extras, and those that they include."""
    found = set(PROJECT["project"]["dependencies"])
    for extra in extras:
        for line in PROJECT["project"]["optional-dependencies"][extra]:
            included = re.fullmatch(r"acepilot\[(.+)\]", line)
            found |= asked(included[1].split(",")) if included else {line}
    return found


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_every_requirement_has_one_pin_that_fits(name: str, python: tuple[int, int], machine: str) -> None:
    locked = pins(name) | pins("torch")
    for requirement in map(Requirement, asked(LOCKS[name])):
        if is_wanted(requirement, python, machine):
            fitting = [
                pin for pin in locked[canonicalize_name(requirement.name)] if is_wanted(pin, python, machine)
            ]
            assert len(fitting) == 1, f"{requirement}: make lock"
            (specifier,) = fitting[0].specifier
            assert requirement.specifier.contains(specifier.version), f"{requirement}: make lock"


@pytest.mark.parametrize("name", LOCKED)
def test_every_pin_has_a_hash_and_no_address(name: str) -> None:
    """An address would not be there on a mirror."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    for pin in re.split(r"\n(?=\w)", text.strip()):
        assert re.match(r"[\w.-]+==[\w.]+", pin)
        assert "--hash=sha256:" in pin


@pytest.mark.parametrize("name", LOCKED)
def test_all_files_have_the_same_versions(name: str) -> None:
    everything = pins("dev")
    for package, locked in pins(name).items():
        if name != "pip" or package in everything:  # pip and wheel are nobody's requirement
            assert {pin.specifier for pin in locked} <= {pin.specifier for pin in everything[package]}


def test_what_torch_needs_is_locked() -> None:
    """pyproject.toml says it for uv, which would lock CUDA's libraries otherwise."""
    (said,) = PROJECT["tool"]["uv"]["dependency-metadata"]
    ((pin,),) = (requirement.specifier for requirement in pins("torch")["torch"])
    assert said["version"] == pin.version
    needed = {Requirement(line).name for line in requires("torch") or [] if "extra ==" not in line}
    without_cuda = {name for name in needed if not re.match("nvidia|cuda|triton", name)}
    assert without_cuda <= set(said["requires-dist"])


def test_a_wheel_is_told_from_none() -> None:
    files = [
        "x-1.0.tar.gz",
        "x-1.0-cp312-abi3-manylinux_2_28_x86_64.whl",
        "x-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",
    ]
    assert has_wheel(files, "1.0", (3, 14), "x86_64")
    assert not has_wheel(files, "1.0", (3, 14), "aarch64")
    assert not has_wheel(files, "1.0", (3, 11), "x86_64"), "its glibc is too new"
    assert not has_wheel(files, "1.1", (3, 14), "x86_64")


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (
            '<testcase file="tests/a/test_x.py" classname="tests.a.test_x" name="test_y[1]"/>',
            "tests/a/test_x.py::test_y[1]",
        ),
        (
            '<testcase file="tests/test_x.py" classname="tests.test_x.TestA" name="test_y"/>',
            "tests/test_x.py::TestA::test_y",
        ),
        ('<testcase classname="" name="tests.a.test_x"/>', "tests/a/test_x.py"),
    ],
)
def test_failures_can_be_run_again_by_name(xml: str, expected: str) -> None:
    assert name_of(ElementTree.fromstring(xml)) == expected


def test_the_library_that_mends_a_test_broke_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`one` breaks with httpx, `two` with numpy, `three` with neither alone."""
    now = {"httpx": "1", "numpy": "3", "rich": "2"}
    changes = [
        Change("httpx", "0", "1"),
        Change("numpy", "2", "3"),
        Change("rich", "1", "2"),
        Change("new", None, "1"),
    ]
    ran: list[list[str]] = []

    def install(_: Path, *what: str) -> None:
        name, version = what[-1].split("==")
        now[name] = version

    def failing(_: Path, __: Path, tests: list[str]) -> dict[str, str]:
        ran.append(tests)
        broken = {"one": now["httpx"] == "1", "two": now["numpy"] == "3", "three": True}
        return {test: "" for test in tests if broken[test]}

    monkeypatch.setattr(try_versions, "run_installer", install)
    monkeypatch.setattr(try_versions, "failing", failing)
    broken = {"one": "", "two": "in /site-packages/numpy/core.py", "three": ""}
    found = blame(Path(), Path(), changes, broken)
    assert found == {changes[0]: ["one"], changes[1]: ["two"], None: ["three"]}
    assert ran[0] == ["one", "three", "two"]
    assert ran[1] == ["one", "three"], "numpy came first, since the traceback names it"
    assert now == {"httpx": "1", "numpy": "3", "rich": "2"}
