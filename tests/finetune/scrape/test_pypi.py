"""Wheels as sources: the user's own pip fetches them, and none of their code runs."""

import zipfile
from pathlib import Path

import pytest

from acepilot.errors import DownloadFailed
from finetune.scrape.collect import collect_sources
from finetune.scrape.licences import ALLOWED
from finetune.scrape.source_files import MAX_FILE_BYTES
from finetune.scrape.sources import parse_source
from tests.finetune.handmade import MIT, TOTALS


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip uses as its index, with one wheel for all platforms."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    about = "Metadata-Version: 2.1\nName: Totals.of-orders\nVersion: 1.2\n"
    with zipfile.ZipFile(folder / "totals_of_orders-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("totals/sums.py", TOTALS)
        wheel.writestr("../outside.py", TOTALS)
        wheel.writestr("totals_of_orders-1.2.dist-info/METADATA", about)
        wheel.writestr("totals_of_orders-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("totals_of_orders-1.2.dist-info/RECORD", "")
        wheel.writestr("totals_of_orders-1.2.dist-info/licenses/LICENSE", MIT)
        wheel.writestr("totals_of_orders-1.2.dist-info/licenses/COPYING", " " * (MAX_FILE_BYTES + 1))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.usefixtures("index")
def test_a_wheel_is_pinned_and_judged_by_the_licence_in_it(tmp_path: Path) -> None:
    source = parse_source("pypi:Totals.of-orders@1.2")
    assert (source.id, source.ref) == ("pypi:Totals.of-orders", "1.2")
    [record] = collect_sources(
        [source], tmp_path / "out", ALLOWED, on_progress=lambda _: None, log=lambda _: None
    )
    assert (record.status, record.licence, record.licence_evidence) == ("kept", "MIT", "LICENSE")
    assert record.location == "pypi:Totals.of-orders@1.2"
    assert record.revision.startswith("sha256:")
    folder = tmp_path / "out" / record.folder
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert record.dropped_files == 2
    assert there == ["LICENSE", "totals/sums.py"]


@pytest.mark.usefixtures("index")
def test_a_package_without_such_a_wheel_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="Could not find a version"):
        collect_sources(
            [parse_source("pypi:nothing-like-it@1")],
            tmp_path / "out",
            ALLOWED,
            on_progress=lambda _: None,
            log=lambda _: None,
        )
