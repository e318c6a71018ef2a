"""Check a written OpenVINO model against its source, and that the paged form can be made of it."""

from pathlib import Path

import numpy as np
import openvino
import torch
from openvino._offline_transformations import paged_attention_transformation  # it has no public name

from finetune.convert.check import REPORT, Comparison, Tolerance, accept, check_same_tokens, compare
from finetune.convert.openvino.weights import WeightBits
from finetune.convert.openvino.writer import MODEL_FILE
from finetune.convert.probe import probe_ids
from finetune.convert.source import Source
from finetune.convert.streaming import streamed_logits

TOLERANCES: dict[WeightBits, Tolerance] = {
    "int8": Tolerance(shift=0.02, noise=0.15),
    "int4": Tolerance(shift=0.05, noise=0.6),
}
"""Measured with a tuned starter: shift 0.0 % and noise 3 % in 8 bits, 3.4 % and 16 % in 4 bits."""


def check_openvino(source: Source, folder: Path, bits: WeightBits) -> Comparison:
    """Compare the files in `folder`, computed in float32, with `source`. Raises CheckFailed."""
    core = openvino.Core()
    tokenizer = core.compile_model(folder / "openvino_tokenizer.xml", "CPU")
    check_same_tokens(
        source.tokenizer, lambda text: tokenizer([text])["input_ids"][0].tolist(), add_special_tokens=True
    )
    model = core.read_model(folder / MODEL_FILE)
    exact = {
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    ids = probe_ids(source)
    row = ids[None].numpy()
    inputs = {
        "input_ids": row,
        "attention_mask": np.ones_like(row),
        "position_ids": np.arange(row.size)[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    written = torch.from_numpy(core.compile_model(model, "CPU", exact)(inputs)["logits"][0])
    paged_attention_transformation(model)
    before = streamed_logits(source.config, source.weights, ids)
    comparison = compare(before, written, ids)
    advice = "Four bits are too few for this model: use --weights int8." if bits == "int4" else REPORT
    return accept(comparison, TOLERANCES[bits], "OpenVINO", advice)
