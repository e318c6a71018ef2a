"""Kept conversions, and the hashes that are remembered for them."""

import os
import time
from pathlib import Path

import pytest

from acepilot.errors import NotEnoughDisk
from acepilot.models import known_hashes as module
from acepilot.models.conversions import CONVERSION_FILE, make_once
from acepilot.models.known_hashes import known_hashes
from acepilot.models.manifest import file_hashes


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))


class Maker:
    """Makes a conversion of two files, and counts how often; `faults` are the reasons for making it again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0
        self.faults: list[str] = []

    def make(self, staging: Path) -> None:
        self.times += 1
        (staging / "weights.bin").write_text("weights")
        (staging / "tokenizer.xml").write_text("tokenizer")

    def __call__(self, made_from: str = "source", *, again: bool = False) -> bool:
        return make_once(self.folder, made_from, self.make, on_fault=self.faults.append, again=again)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "home" / "cache" / "kind" / "name")


def test_a_whole_conversion_is_made_once(maker: Maker) -> None:
    assert maker()
    assert not maker()
    assert (maker.times, maker.faults) == (1, [])


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda folder: (folder / "weights.bin").write_text("weighty"), "weights.bin has changed"),
        (lambda folder: (folder / "tokenizer.xml").unlink(), "tokenizer.xml is missing"),
        (lambda folder: (folder / "more").touch(), "more is unexpected"),
        (lambda folder: (folder / CONVERSION_FILE).unlink(), "has no conversion.json"),
        (lambda folder: (folder / CONVERSION_FILE).write_text("{"), "conversion.json is damaged"),
        (lambda folder: os.truncate(folder / "weights.bin", 0), "weights.bin has changed"),
    ],
)
def test_a_damaged_conversion_is_replaced(maker: Maker, damage: object, fault: str) -> None:
    maker()
    whole = file_hashes(maker.folder)
    damage(maker.folder)  # pyright: ignore
    assert maker()
    assert file_hashes(maker.folder) == whole
    assert len(maker.faults) == 1
    assert fault in maker.faults[0]


def test_another_source_and_a_form_that_does_not_open_are_made_again(maker: Maker) -> None:
    maker()
    assert maker("another source")
    assert maker("another source", again=True)
    assert maker.faults == ["it was made from another model, or by another version", "it does not open"]


def test_a_failed_conversion_leaves_the_old_one_and_nothing_else(maker: Maker) -> None:
    maker()

    def fail(staging: Path) -> None:
        (staging / "part").symlink_to("/dev/full")
        (staging / "part").write_text("weights")

    with pytest.raises(NotEnoughDisk):
        make_once(maker.folder, "another", fail, on_fault=lambda _: None)
    assert [path.name for path in maker.folder.parent.iterdir()] == ["name"]
    assert not maker()


# --- remembered hashes ---


def read_again(model: Path) -> bool:
    reads: list[int] = []
    assert known_hashes(model, reads.append) == file_hashes(model)
    return bool(reads)


def test_a_file_is_read_again_only_after_a_change_whatever_its_time_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_NS", 0)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    assert read_again(file)
    assert not read_again(file)
    before = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_again(file)
    assert not read_again(file)
    file.replace(tmp_path / "old")
    file.write_bytes((tmp_path / "old").read_bytes())
    assert read_again(file), "a copy is another file"


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path) -> None:
    """A second write in the same tick of the clock would not change its ctime."""
    (tmp_path / "model").write_bytes(b"weights")
    assert read_again(tmp_path / "model")
    changed_ns = (tmp_path / "model").stat().st_ctime_ns
    assert read_again(tmp_path / "model") or time.time_ns() - changed_ns > module.SETTLED_NS


def test_a_damaged_record_and_a_home_that_cannot_be_written_only_cost_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_NS", 0)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    read_again(file)
    [record] = (tmp_path / "home" / "cache" / "hashes").iterdir()
    record.write_text("{")
    assert read_again(file)
    monkeypatch.setenv("ACEPILOT_HOME", "/proc/none")
    assert read_again(file)
    assert read_again(file)
