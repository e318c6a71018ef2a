"""Write a model for the `openvino` engine: traced from torch, matrices in 8 or 4 bits, the cache as states.

The steps: trace, replace each matrix by its compressed form, turn past keys and values into states, add the
tokenizer. optimum-intel would do this too, but it pins an old transformers.
"""

# openvino, torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from openvino.frontend.pytorch import ConversionExtension, ModuleExtension
from openvino_tokenizers import convert_tokenizer
from torch import Tensor

from acepilot.errors import ConfigError
from finetune.convert.gguf.tokenizer import control_tokens
from finetune.convert.openvino.layers import StoredMatrix
from finetune.convert.openvino.states import add_states, cache_shape
from finetune.convert.openvino.trace import FAMILIES, TracedModel
from finetune.convert.openvino.weights import WeightBits, compressed
from finetune.convert.source import Source

MODEL_FILE = "openvino_model.xml"
MATRIX = "acepilot::matrix"
ALWAYS_8_BITS = (".k_proj.weight", ".v_proj.weight", ".o_proj.weight")
"""Matrices that stay in 8 bits when the others get 4, like the embedding and the last matrix.

They are 7 % of the layers' numbers; with them in 4 bits the starter's mean log probability is 7.4 % off,
without 1.9 %.
"""


def write_openvino(source: Source, folder: Path, bits: WeightBits) -> None:
    """Write model and tokenizer into `folder`. Raises ConfigError for a family that cannot be traced."""
    if source.config.model_type not in FAMILIES:
        raise ConfigError(
            f"{source.path} is a {source.config.model_type}; for OpenVINO these families can be converted: "
            f"{', '.join(sorted(FAMILIES))}.",
            field="to",
        )
    model = _graph(TracedModel(source), source.config, bits)
    add_states(model, source.config)
    # Norms and rotary angles stay in float32: they are small, and half precision is inexact at far positions.
    openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)
    del model
    _save_tokenizer(source, folder)


def _graph(traced: TracedModel, config: Any, bits: WeightBits) -> Any:
    """Return the OpenVINO model with the trace's inputs and outputs, and with compressed matrices."""
    layers, heads, head_dim = cache_shape(config)
    example = {
        "input_ids": torch.ones(2, 3, dtype=torch.int64),
        "attention_mask": torch.ones(2, 5, dtype=torch.int64),
        "position_ids": torch.arange(2, 5).expand(2, -1),
        "past": [torch.zeros(2, heads, 2, head_dim)] * (2 * layers),
    }
    matrices = [module for module in traced.modules() if isinstance(module, StoredMatrix)]
    numbers = {id(matrix): index for index, matrix in enumerate(matrices)}
    nodes: dict[str, Any] = {}

    def node_of(matrix: StoredMatrix) -> Any:
        if matrix.name not in nodes:
            in_8_bits = (
                matrix.is_table or matrix is traced.model.head.matrix or matrix.name.endswith(ALWAYS_8_BITS)
            )
            nodes[matrix.name] = compressed(matrix.read(), "int8" if in_8_bits else bits)
        return nodes[matrix.name]

    def trace_matrix(module: StoredMatrix, operation: Any, value: Tensor) -> Tensor:
        return operation(value, torch.tensor(numbers[id(module)]))

    def build_matrix(context: Any) -> Any:
        matrix = matrices[int(context.get_values_from_const_input(1))]
        value = context.get_input(0)
        if matrix.is_table:
            return ops.gather(node_of(matrix), value, np.int64(0)).outputs()
        return ops.matmul(value, node_of(matrix), False, True).outputs()

    extensions = [
        ModuleExtension(
            StoredMatrix,
            MATRIX,
            convert=trace_matrix,
            evaluate=lambda module, value, _: module.shape_like(value),
        ),
        ConversionExtension(MATRIX, build_matrix),
    ]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of each Python number that becomes a constant
        return openvino.convert_model(traced, example_input=example, extension=extensions)


def _save_tokenizer(source: Source, folder: Path) -> None:
    """Save the tokenizer with its sentinels as special tokens, which the engine keeps out of its output."""
    controls = sorted(control_tokens(json.loads(source.tokenizer.backend_tokenizer.to_str())))
    source.tokenizer.add_special_tokens({"additional_special_tokens": controls})
    converted: Any = convert_tokenizer(source.tokenizer, with_detokenizer=True)
    tokenizer, detokenizer = converted
    openvino.save_model(tokenizer, folder / "openvino_tokenizer.xml")
    openvino.save_model(detokenizer, folder / "openvino_detokenizer.xml")
    source.config.save_pretrained(folder)
    source.tokenizer.save_pretrained(folder)
