"""A model as the `openvino` engine reads it: traced from torch, matrices in 8 or 4 bits, the cache a state.

No optimum-intel: it holds transformers back. The steps are few: trace, let each matrix become its compressed
form, turn the past keys and values into states with a `beam_idx`, add the tokenizer.
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
from openvino._offline_transformations import (
    apply_make_stateful_transformation,
    paged_attention_transformation,
)
from openvino.frontend.pytorch import ConversionExtension, ModuleExtension
from openvino_tokenizers import convert_tokenizer  # this also teaches openvino to read what it writes
from torch import Tensor

from acepilot.errors import ConfigError
from finetune.convert.check import (
    Figures,
    Tolerance,
    accept,
    check_tokenizer,
    compare,
    probe_ids,
    streamed_logits,
)
from finetune.convert.gguf.tokenizer import control_tokens
from finetune.convert.openvino.layers import StoredMatrix
from finetune.convert.openvino.trace import FAMILIES, TracedModel
from finetune.convert.openvino.weights import WeightBits, compressed
from finetune.convert.source import Source

MODEL_FILE = "openvino_model.xml"
MATRIX = "acepilot::matrix"
DELICATE = (".k_proj.weight", ".v_proj.weight", ".o_proj.weight")
"""Never in 4 bits, as the tables and the last matrix: small, and much depends on them (starter: 7.4 %
off with them in 4 bits, 1.9 % without, for 7 % of the layers' numbers)."""
TOLERANCES: dict[WeightBits, Tolerance] = {
    "int8": Tolerance(shift=0.02, noise=0.15),
    "int4": Tolerance(shift=0.05, noise=0.6),
}
"""Seen with a tuned starter: 0.0 % off and 3 % noise in 8 bits, 3.4 % and 16 % in 4."""


def write_openvino(source: Source, folder: Path, bits: WeightBits) -> Figures:
    """Raises ConfigError for an unknown family, CheckFailed when the result says something else."""
    if source.config.model_type not in FAMILIES:
        raise ConfigError(
            f"{source.path} is a {source.config.model_type}; known to this export are "
            f"{', '.join(sorted(FAMILIES))}.",
            field="to",
        )
    model = _with_states(_graph(TracedModel(source), source.config, bits), source.config)
    # norms and angles stay in float32: they are small, and half precision would blur far positions
    openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)
    del model
    _save_tokenizer(source, folder)
    return _check(source, folder, bits)


def _graph(traced: TracedModel, config: Any, bits: WeightBits) -> Any:
    """Inputs and outputs are the trace's, the matrices compressed."""
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
            delicate = matrix.is_table or matrix is traced.model.head.matrix or matrix.name.endswith(DELICATE)
            nodes[matrix.name] = compressed(matrix.read(), "int8" if delicate else bits)
        return nodes[matrix.name]

    def convert(module: StoredMatrix, operation: Any, value: Tensor) -> Tensor:
        return operation(value, torch.tensor(numbers[id(module)]))

    def built(context: Any) -> Any:
        matrix = matrices[int(context.get_values_from_const_input(1))]
        value = context.get_input(0)
        if matrix.is_table:
            return ops.gather(node_of(matrix), value, np.int64(0)).outputs()
        return ops.matmul(value, node_of(matrix), False, True).outputs()

    extensions = [
        ModuleExtension(
            StoredMatrix, MATRIX, convert=convert, evaluate=lambda module, value, _: module.shape_like(value)
        ),
        ConversionExtension(MATRIX, built),
    ]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of each number that the trace makes a constant of
        return openvino.convert_model(traced, example_input=example, extension=extensions)


def cache_shape(config: Any) -> tuple[int, int, int]:
    """Layers, heads of keys and values, and numbers of a head."""
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    if getattr(config, "multi_query", False):
        heads = 1
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, head_dim


def _with_states(model: Any, config: Any) -> Any:
    """Changes `model`: past and present keys and values become states, whose rows `beam_idx` picks.

    The names and the order of operations are those that openvino-genai and the paged form look for.
    """
    layers, heads, head_dim = cache_shape(config)
    parts = [f"{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
    names = {f"past_key_values.{part}": f"present.{part}" for part in parts}
    past = model.inputs[3:]
    for port, name in zip(model.inputs, ("input_ids", "attention_mask", "position_ids", *names), strict=True):
        shape = [-1, heads, -1, head_dim] if name in names else [-1, -1]
        port.get_node().set_partial_shape(openvino.PartialShape(shape))
        port.get_node().set_friendly_name(name)
        port.get_tensor().set_names({name})
    for port, name in zip(model.outputs, ("logits", *names.values()), strict=True):
        port.get_tensor().set_names({name})
    beams = ops.parameter([-1], np.int32, "beam_idx")
    beams.output(0).set_names({"beam_idx"})
    model.add_parameters([beams])
    for port in past:
        readers = port.get_target_inputs()
        picked = ops.gather(port.get_node(), beams, np.int64(0))
        for reader in readers:
            reader.replace_source_output(picked.output(0))
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, names)
    _start_empty(model, heads, head_dim)
    model.validate_nodes_and_infer_types()
    return model


def _start_empty(model: Any, heads: int, head_dim: int) -> None:
    """A state that was never written has no tokens, for as many rows as the input has."""
    shape = ops.shape_of(model.input("input_ids").get_node(), "i64")
    rows = ops.gather(shape, np.array([0]), np.int64(0))
    empty = ops.broadcast(np.float32(0), ops.concat([rows, np.array([heads, 0, head_dim])], 0))
    for operation in model.get_ops():
        if operation.get_type_name() == "ReadValue":
            operation.set_arguments([empty])


def _save_tokenizer(source: Source, folder: Path) -> None:
    """Sentinels become special tokens: the engine tells by that what must not be in its text."""
    controls = sorted(control_tokens(json.loads(source.tokenizer.backend_tokenizer.to_str())))
    source.tokenizer.add_special_tokens({"additional_special_tokens": controls})
    converted: Any = convert_tokenizer(source.tokenizer, with_detokenizer=True)
    tokenizer, detokenizer = converted
    openvino.save_model(tokenizer, folder / "openvino_tokenizer.xml")
    openvino.save_model(detokenizer, folder / "openvino_detokenizer.xml")
    source.config.save_pretrained(folder)
    source.tokenizer.save_pretrained(folder)


def _check(source: Source, folder: Path, bits: WeightBits) -> Figures:
    """The written files, computed in float32, against the source; and that the paged form can be made."""
    core = openvino.Core()
    tokenizer = core.compile_model(folder / "openvino_tokenizer.xml", "CPU")
    check_tokenizer(
        source.tokenizer, lambda text: tokenizer([text])["input_ids"][0].tolist(), with_marks=True
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
    figures = compare(before, written, ids)
    if bits == "int4":
        advice = "Four bits are too few for this model: take --weights int8."
        return accept(figures, TOLERANCES[bits], "OpenVINO's form", advice)
    return accept(figures, TOLERANCES[bits], "OpenVINO's form")
