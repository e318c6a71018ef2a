"""The hashes of a model's files."""

import hashlib
from pathlib import Path

import pytest

from acepilot.errors import ModelBroken
from acepilot.models.manifest import CARD_FILE, MANIFEST_FILE, file_hashes


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_hashes_leave_out_manifest_card_and_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".cache").mkdir(parents=True)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "deep" / "part.bin").write_bytes(b"part")
    for leftover in (MANIFEST_FILE, CARD_FILE, ".gitattributes", "deep/.cache/lock"):
        (tmp_path / leftover).write_bytes(b"no part of the model")
    assert file_hashes(tmp_path) == {
        "deep/part.bin": sha256(b"part"),
        "model.safetensors": sha256(b"weights"),
    }


def test_a_single_file_goes_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"weights")
    assert file_hashes(tmp_path / "mine.gguf") == {"mine.gguf": sha256(b"weights")}


def test_progress_counts_over_all_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"12345")
    progress: list[int] = []
    file_hashes(tmp_path, progress.append)
    assert progress == [5, 10]


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_text("{}")
    with pytest.raises(ModelBroken, match="holds no files"):
        file_hashes(tmp_path)
