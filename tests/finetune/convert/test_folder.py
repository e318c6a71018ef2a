"""A model folder is replaced completely or not at all."""

from pathlib import Path

import pytest
import torch

from acepilot.errors import NotEnoughDisk
from acepilot.models.manifest import Manifest, read_manifest
from finetune.convert.folder import write_folder

MANIFEST = Manifest(
    id="small", format="safetensors", files={}, base="me/small", licence="MIT", dtype="float32",
    context_tokens=64,
)  # fmt: skip


def test_a_full_disk_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    before, _ = write_folder(target, MANIFEST, lambda folder: (folder / "a.txt").write_text("a"))

    def full(folder: Path) -> None:
        (folder / "model.bin").symlink_to("/dev/full")
        torch.save({"a": torch.zeros(1000)}, folder / "model.bin")

    with pytest.raises(NotEnoughDisk, match=f"The disk of {tmp_path} is full .*model was not written"):
        write_folder(target, MANIFEST, full)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert read_manifest(target) == before
