"""The folder registry: what a user may write after --model, and models that are whole or not there."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from acepilot.errors import ModelBroken, ModelNotFound, NotEnoughDisk
from acepilot.models.manifest import MANIFEST_FILE, Manifest, ModelFile
from acepilot.models.registry import add, is_whole, models_dir, register
from acepilot.models.resolve import resolve
from tests.acepilot.models.tuned_models import write_model


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def manifest(size_bytes: int) -> Manifest:
    file = ModelFile(sha256="0" * 64, size_bytes=size_bytes)
    return Manifest(
        id="mine",
        format="gguf",
        files={"model.gguf": file},
        base="some/base",
        licence="MIT",
        dtype="F16",
        context_tokens=2048,
    )


def add_mine(tmp_path: Path, content: bytes = b"weights") -> None:
    source = tmp_path / "downloaded"
    source.write_bytes(content)
    add("mine", {source: "model.gguf"}, manifest(len(content)))


def test_a_registered_model_is_found_by_name(tmp_path: Path) -> None:
    add_mine(tmp_path)
    model = resolve("mine")
    assert model.gguf == models_dir() / "mine" / "model.gguf"
    assert model.manifest is not None
    assert model.manifest.context_tokens == 2048
    assert is_whole("mine")


def test_adding_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    add_mine(tmp_path)
    add_mine(tmp_path, b"better weights")
    assert resolve("mine").path.joinpath("model.gguf").read_bytes() == b"better weights"
    assert [path.name for path in models_dir().iterdir()] == ["mine"]


def test_a_failed_add_leaves_the_old_model(tmp_path: Path) -> None:
    add_mine(tmp_path)
    with pytest.raises(FileNotFoundError):
        add("mine", {tmp_path / "not-there": "model.gguf"}, manifest(1))
    assert is_whole("mine")
    assert [path.name for path in models_dir().iterdir()] == ["mine"]


def test_a_folder_and_a_file_need_no_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "weights.gguf").write_bytes(b"x")
    assert resolve("my-model").gguf == folder / "weights.gguf"
    assert resolve(str(folder / "weights.gguf")).name == "weights"


def test_several_ggufs_in_a_folder_are_ambiguous(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelBroken, match=r"a\.gguf, b\.gguf"):
        _ = resolve(str(tmp_path)).gguf


def test_an_unknown_name_says_what_there_is_and_how_to_get_one(tmp_path: Path) -> None:
    add_mine(tmp_path)
    with pytest.raises(ModelNotFound, match=r"there: mine.*acepilot\.models fetch starter"):
        resolve("yours")


def test_a_model_that_lost_bytes_is_not_whole(tmp_path: Path) -> None:
    add_mine(tmp_path)
    (models_dir() / "mine" / "model.gguf").write_bytes(b"we")
    assert not is_whole("mine")
    assert not is_whole("never-there")


def test_a_damaged_manifest_is_said(tmp_path: Path) -> None:
    add_mine(tmp_path)
    (models_dir() / "mine" / MANIFEST_FILE).write_text('{"id": ')
    with pytest.raises(ModelBroken, match="fetch or export the model again"):
        resolve("mine")


def test_a_model_that_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "run", "weights")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3))
        with pytest.raises(
            NotEnoughDisk, match=f"{folder} needs .* on the disk of {models_dir()}, which has 3"
        ):
            register(folder)
    with monkeypatch.context() as patched:
        copy = shutil.copyfile
        patched.setattr(shutil, "copyfile", lambda source, target: copy("/dev/zero", "/dev/full"))
        with pytest.raises(NotEnoughDisk, match=f"The disk of {models_dir()} is full .* add again"):
            register(folder)
    assert not list(models_dir().iterdir())
    assert register(folder).path.is_dir()
