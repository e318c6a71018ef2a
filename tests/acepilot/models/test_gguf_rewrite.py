"""Rewriting a GGUF for OpenVINO keeps its numbers and its metadata."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Quant
from gguf import GGUFReader, GGUFWriter, quants

from acepilot.models.gguf_rewrite import needs_rewriting, rewrite_as_q8_0


def write(path: Path, kind: Quant, weights: np.ndarray) -> None:
    writer = GGUFWriter(path, "qwen2")
    writer.add_context_length(64)
    writer.add_token_list(["a", "<|b|>"])
    writer.add_token_types([1, 3])
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_file_type(15)
    writer.add_tensor("blk.0.ffn_up.weight", quants.quantize(weights, kind), raw_dtype=kind)
    writer.add_tensor("blk.0.ffn_norm.weight", np.linspace(0, 1, 64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(32, 64)).astype(np.float32)


def test_unreadable_tensors_become_q8_0_and_keep_their_values(tmp_path: Path, weights: np.ndarray) -> None:
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    write(source, Quant.Q5_0, weights)
    progress: list[float] = []
    rewrite_as_q8_0(source, target, progress.append)
    before, after = GGUFReader(source), GGUFReader(target)
    values = [
        quants.dequantize(reader.tensors[0].data, reader.tensors[0].tensor_type) for reader in (before, after)
    ]
    assert after.tensors[0].tensor_type == Quant.Q8_0
    np.testing.assert_allclose(values[1], values[0], atol=0.02)
    np.testing.assert_array_equal(after.tensors[1].data, before.tensors[1].data)
    assert progress[-1] == sum(int(tensor.n_bytes) for tensor in before.tensors)
    assert not needs_rewriting(target)


def test_metadata_is_kept(tmp_path: Path, weights: np.ndarray) -> None:
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    write(source, Quant.Q5_0, weights)
    rewrite_as_q8_0(source, target, lambda done: None)
    before, after = GGUFReader(source).fields, GGUFReader(target).fields
    assert set(before) == set(after)
    contents = {name: field.contents() for name, field in after.items()}
    changed = {name for name, field in before.items() if field.contents() != contents[name]}
    assert changed == {"general.file_type"}


@pytest.mark.parametrize(
    ("kind", "refused"), [(Quant.Q8_0, False), (Quant.Q4_0, False), (Quant.Q4_1, True), (Quant.Q5_1, True)]
)
def test_only_what_openvino_refuses_is_rewritten(
    tmp_path: Path, weights: np.ndarray, kind: Quant, refused: bool
) -> None:
    write(tmp_path / "model.gguf", kind, weights)
    assert needs_rewriting(tmp_path / "model.gguf") is refused
