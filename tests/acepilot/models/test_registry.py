"""The registry: the words for a model that `resolve` takes, and adding models to it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from acepilot.errors import ConfigError, ModelBroken, ModelNotFound, NotEnoughDisk
from acepilot.models.manifest import MANIFEST_FILE, Manifest, StoredFile
from acepilot.models.registry import add, is_whole, models_dir, register, registered_names
from acepilot.models.resolve import resolve
from tests.acepilot.models.tuned_models import write_model


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def manifest(size_bytes: int) -> Manifest:
    file = StoredFile(sha256="0" * 64, size_bytes=size_bytes)
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
    for path in ("./my-model", str(folder), "my-model/"):
        assert resolve(path).gguf == folder / "weights.gguf"
    assert resolve(str(folder / "weights.gguf")).name == "weights"


def test_several_ggufs_in_a_folder_are_ambiguous(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelBroken, match=r"a\.gguf, b\.gguf"):
        _ = resolve(str(tmp_path)).gguf


def test_the_message_about_an_unknown_name_lists_the_models(tmp_path: Path) -> None:
    add_mine(tmp_path)
    with pytest.raises(ModelNotFound, match=r"there: mine.*acepilot\.models fetch starter"):
        resolve("yours")


def test_a_model_that_lost_bytes_is_not_whole(tmp_path: Path) -> None:
    add_mine(tmp_path)
    (models_dir() / "mine" / "model.gguf").write_bytes(b"we")
    assert not is_whole("mine")
    assert not is_whole("never-there")


def test_a_damaged_manifest_is_reported(tmp_path: Path) -> None:
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


def test_a_folder_is_copied_as_it_is_and_may_be_added_again(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "run", "weights")
    model = register(folder, "ours-1")
    assert {path.relative_to(model.path).as_posix() for path in model.path.rglob("*") if path.is_file()} == {
        "README.md",
        "manifest.json",
        "model.gguf",
        "tokenizer/vocab.txt",
    }
    assert register(folder, "ours-1") == model
    (folder / "model.gguf").write_bytes(b"what comes later")
    assert (model.path / "model.gguf").read_bytes() == b"weights"
    assert resolve("ours-1") == model


def test_another_model_of_that_name_is_refused(tmp_path: Path) -> None:
    register(write_model(tmp_path / "run", "weights"), "ours-1")
    with pytest.raises(ConfigError, match=r"has another model called ours-1.*--name"):
        register(write_model(tmp_path / "other", "others"), "ours-1")
    assert (models_dir() / "ours-1" / "model.gguf").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.gguf").write_bytes(b"damaged"), "model.gguf has changed"),
        (lambda folder: (folder / "tokenizer" / "vocab.txt").unlink(), "tokenizer/vocab.txt is missing"),
        (lambda folder: (folder / "custom.py").write_text("import os"), "custom.py is unexpected"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
    ],
)
def test_files_that_differ_from_the_manifest_are_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = write_model(tmp_path / "run", "weights")
    spoil(folder)
    with pytest.raises(ModelBroken, match=re.escape(message)):
        register(folder)
    assert registered_names() == []
    assert not models_dir().exists() or list(models_dir().iterdir()) == []


@pytest.mark.parametrize("name", ["current", ".hidden", "../up", "a/b", "", "-x", "sp ace", "x" * 97])
def test_invalid_names_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "run", "weights", id="current")
    with pytest.raises(ConfigError, match="--name"):
        register(folder, name)
