"""Model files from anybody: a small file takes neither much memory nor much disk."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from acepilot.errors import ModelBroken
from acepilot.models.gguf_file import open_gguf
from acepilot.models.gguf_rewrite import needs_rewriting
from acepilot.models.stored_weights import StoredWeights, rewrite_pickled

HUGE = 1 << 60
UINT8, STRING, ARRAY = 0, 8, 9  # GGUF's numbers for types of values


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(keys: int = 1, tensors: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest


def tensor(*dimensions: int, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text("weight") + shape + struct.pack("<IQ", 0, offset)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "header",
    [
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, UINT8, HUGE)),
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, STRING, HUGE)),
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, ARRAY, HUGE)),
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, UINT8, 50_000_000) + bytes(50_000_000)),
        gguf(rest=text("a") + struct.pack("<IQ", STRING, HUGE)),
        gguf(rest=struct.pack("<Q", HUGE)),
        gguf(keys=HUGE),
        gguf(keys=0, tensors=HUGE),
        gguf(keys=0, tensors=1, rest=tensor(*[2] * 2000)),
        gguf(keys=0, tensors=1, rest=tensor(1 << 40, 1 << 40)),
        gguf(keys=0, tensors=1, rest=tensor(8, offset=HUGE)),
    ],
    ids=lambda header: str(len(header)),
)
def test_a_gguf_that_promises_more_than_it_holds(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header.ljust(4096, b"\0"))
    with pytest.raises(
        ModelBroken, match=r"model\.gguf cannot be read: .* Fetch or export the model again\."
    ):
        needs_rewriting(path)


def test_a_gguf_cut_off_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "qwen2")
    writer.add_token_list(["a", "b"])
    writer.add_tensor("blk.0.ffn_norm.weight", np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole = path.read_bytes()
    assert len(open_gguf(path).tensors) == 1
    needed_bytes = len(whole) - 16  # zeros that fill up the last block
    for length in range(1, needed_bytes):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelBroken):
            open_gguf(path)


def write_memo_trap(path: Path) -> None:
    pickled = b"\x80\x02}r" + struct.pack("<I", 500_000_000) + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")


def write_legacy_memo_trap(path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    end_of_magic = whole.index(b".") + 1
    path.write_bytes(whole[:end_of_magic] + b"\x80\x02}r" + struct.pack("<I", 500_000_000) + b".")


def write_a_length_beyond_all_memory(path: Path) -> None:
    """A legacy file whose second pickle names a text of 2^62 bytes."""
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b".") + 1] + b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62))


def write_copies_of_one_storage(path: Path) -> None:
    storage = torch.zeros(100_000)
    torch.save({f"tensor {number}": storage.view(1000, 100) for number in range(20)}, path)


def write_one_number_as_a_large_tensor(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(100_000_000)}, path)


def write_compressed(path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tar(path: Path) -> None:
    """Torch before 0.2 wrote such files; torch unpacks them into a folder of its own."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"\x80\x02N."))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "write",
    [
        write_memo_trap,
        write_legacy_memo_trap,
        write_a_length_beyond_all_memory,
        write_copies_of_one_storage,
        write_one_number_as_a_large_tensor,
        write_compressed,
        write_tar,
    ],
)
def test_a_pickle_that_is_larger_in_memory_or_on_disk(tmp_path: Path, write: Callable[[Path], None]) -> None:
    source = tmp_path / "pytorch_model.bin"
    write(source)
    with pytest.raises(ModelBroken, match="no weights that can be read safely"):
        rewrite_pickled(tmp_path, [source.name])
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_tied_weights_are_no_trap(tmp_path: Path) -> None:
    embedding = torch.ones(1000, 10)
    torch.save({"embedding": embedding, "head": embedding}, tmp_path / "pytorch_model.bin")
    assert rewrite_pickled(tmp_path, ["pytorch_model.bin"]) == ["model.safetensors"]


@pytest.mark.parametrize(
    "index",
    [
        '{"weight_map": {"a": "../other/model.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": []}',
        "{}",
        "[" * 100_000,
        "\x00",
    ],
    ids=lambda index: index[:40],
)
def test_an_index_of_tensors_names_files_beside_it(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelBroken, match="Fetch or export the model again"):
        StoredWeights(tmp_path)
