"""Turn a traced model's past keys and values into states of the OpenVINO model."""

from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino.passes import MakeStateful, Manager


def cache_shape(config: Any) -> tuple[int, int, int]:
    """Return the number of layers, the heads of keys and values, and the width of a head."""
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    if getattr(config, "multi_query", False):
        heads = 1
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, head_dim


def add_states(model: Any, config: Any) -> None:
    """Change `model`: each past and present becomes a state, and the input `beam_idx` selects its rows.

    openvino-genai and the paged-attention transformation look for these names and this order of operations.
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
        selected = ops.gather(port.get_node(), beams, np.int64(0))
        for reader in readers:
            reader.replace_source_output(selected.output(0))
    model.validate_nodes_and_infer_types()
    manager = Manager()
    manager.register_pass(MakeStateful(names))
    manager.run_passes(model)
    _start_empty(model, heads, head_dim)
    model.validate_nodes_and_infer_types()


def _start_empty(model: Any, heads: int, head_dim: int) -> None:
    """Give each state an initial value: zero tokens, for as many rows as the input has."""
    shape = ops.shape_of(model.input("input_ids").get_node(), "i64")
    rows = ops.gather(shape, np.array([0]), np.int64(0))
    empty = ops.broadcast(np.float32(0), ops.concat([rows, np.array([heads, 0, head_dim])], 0))
    for operation in model.get_ops():
        if operation.get_type_name() == "ReadValue":
            operation.set_arguments([empty])
