"""The lower bounds that follow from a model file and a machine."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants

from bench.limits import Machine, model_needs


def test_limits_follow_from_the_weights_that_a_token_reads_and_multiplies(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    matrix = quants.quantize(np.ones((64, 32), np.float32), GGMLQuantizationType.Q8_0)
    for name in ("token_embd.weight", "output.weight", "blk.0.ffn_up.weight"):
        writer.add_tensor(name, matrix, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    needs = model_needs(tmp_path / "model.gguf")
    assert needs.token_bytes == 2 * matrix.nbytes + 32 * 4
    assert needs.token_operations == 2 * 64 * 32
    machine = Machine(read=1e9, bf16=4e9, int8=8e9)
    assert needs.tokens_a_second(machine) == pytest.approx(1e9 / needs.token_bytes)
    assert needs.prompt_s(machine, 1000) == pytest.approx(1000 * needs.token_operations / 8e9)
