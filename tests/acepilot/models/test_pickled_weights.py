"""Rewriting pickled weights as safetensors: every kind of tensor, several files, and refused pickles."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from acepilot.errors import ModelBroken
from acepilot.models.stored_weights import rewrite_pickled


def test_every_kind_of_number_and_several_files(tmp_path: Path) -> None:
    whole = torch.arange(24.0)
    parts: list[dict[str, torch.Tensor]] = [
        {
            "view": whole[4:16].view(3, 4),
            "same": whole,
            "transposed": whole.view(4, 6).T,
            "every other": whole[::2],
            "half": torch.randn(2, 1, 3).half(),
            "scalar": torch.tensor(7),
            "empty": torch.zeros(0, 4),
        },
        {
            "brain": torch.randn(5).bfloat16(),
            "mask": torch.ones(2, 2, dtype=torch.bool),
            "bytes": torch.arange(9, dtype=torch.uint8),
            "parameter": torch.nn.Parameter(torch.randn(3)),
        },
    ]
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    torch.save(parts[0], tmp_path / names[0])
    torch.save(parts[1], tmp_path / names[1], _use_new_zipfile_serialization=False)  # as torch before 1.6
    everything = parts[0] | parts[1]

    assert rewrite_pickled(tmp_path, ["config.json", *names]) == ["config.json", "model.safetensors"]
    assert_same(load_file(tmp_path / "model.safetensors"), everything)

    first, index, *shards = rewrite_pickled(tmp_path, ["config.json", *names], shard_bytes=100)
    assert (first, index) == ("config.json", "model.safetensors.index.json")
    assert len(shards) > 2
    weight_map = json.loads((tmp_path / index).read_text())["weight_map"]
    read = {name: load_file(tmp_path / shard)[name] for name, shard in weight_map.items()}
    assert_same(read, everything)
    assert set(weight_map.values()) == set(shards)
    sizes = [sum(tensor.nbytes for tensor in load_file(tmp_path / shard).values()) for shard in shards]
    assert all(size <= 100 or size == whole.nbytes for size in sizes)


def assert_same(read: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        *(
            (content, "asks for more than tensors")
            for content in ("attack", "inside", "legacy", "bare attack")
        ),
        *((content, "is damaged") for content in ("cut off", "no archive", "no bytes")),
        *(
            (content, "not a plain table of tensors")
            for content in ("list", "number", "numbered", "nothing", "sparse", "no values")
        ),
    ],
)
def test_a_pickle_that_is_no_table_of_tensors_is_refused_and_not_run(
    tmp_path: Path, content: str, why: str
) -> None:
    name, target = "pytorch_model.bin", tmp_path / "attacked"
    source, tensor = tmp_path / name, torch.zeros(2)
    match content:
        case "attack":
            torch.save(Attack(target), source)
        case "inside":
            torch.save({"a": tensor, "b": Attack(target)}, source)
        case "legacy":
            torch.save({"a": Attack(target)}, source, _use_new_zipfile_serialization=False)
        case "bare attack":
            source.write_bytes(pickle.dumps(Attack(target), protocol=2))
        case "list":
            torch.save([tensor], source)
        case "number":
            torch.save({"a": tensor, "step": 3}, source)
        case "numbered":
            torch.save({"a": tensor, 1: tensor}, source)
        case "nothing":
            torch.save({}, source)
        case "sparse":
            torch.save({"a": tensor.to_sparse()}, source)
        case "no values":
            torch.save({"a": torch.zeros(2, device="meta")}, source)
        case "cut off":
            torch.save({"a": torch.zeros(1000)}, source)
            os.truncate(source, source.stat().st_size // 2)
        case "no bytes":
            source.touch()
        case _:
            source.write_bytes(b"neither a pickle nor an archive")
    with pytest.raises(ModelBroken, match=f"no weights that can be read safely.*{why}"):
        rewrite_pickled(tmp_path, [name])
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_pickled_files_with_the_same_tensor_are_refused(tmp_path: Path) -> None:
    names = ["pytorch_model.bin", "pytorch_model.fp16.bin"]
    for name in names:
        torch.save({"a": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(ModelBroken, match="another file has its tensor a"):
        rewrite_pickled(tmp_path, names)
