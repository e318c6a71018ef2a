"""Tuned weights as a GGUF that the `openvino` engine reads; the last, optional part of export.

Names, shapes and the tokenizer's metadata come from the base model's own GGUF; only the numbers are new. So
this is for models that were published as GGUF, in the families that OpenVINO reads: Llama's and Qwen's.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import (
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFReader,
    GGUFValueType,
    GGUFWriter,
    LlamaFileType,
    get_tensor_name_map,
    quants,
)

from acepilot.errors import ConfigError, ModelBroken

QUANTS = {"F16": GGMLQuantizationType.F16, "Q8_0": GGMLQuantizationType.Q8_0}
FILE_TYPES = {"F16": LlamaFileType.MOSTLY_F16, "Q8_0": LlamaFileType.MOSTLY_Q8_0}
Q8_BLOCK = 32
"""Q8_0 stores rows in blocks of so many numbers; a tensor with other rows stays F16."""


def write_gguf(model: Any, source: Path, target: Path, kind: str) -> None:
    """`model`, a transformers model whose base is `source`, as `target`; `kind` is F16 or Q8_0."""
    reader = GGUFReader(source)
    architecture = str(reader.fields["general.architecture"].contents())
    if architecture not in {"llama", "qwen2"}:
        raise ConfigError(
            f"export.gguf: `{architecture}` cannot be written, only llama and qwen2.", field="export.gguf"
        )
    by_name = _by_gguf_name(model, architecture)
    writer = GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue  # the writer makes its own
        value_kind = field.types[0]
        item_kind = field.types[-1] if value_kind == GGUFValueType.ARRAY else None
        value: Any = FILE_TYPES[kind].value if name == "general.file_type" else field.contents()
        writer.add_key_value(name, value, value_kind, item_kind)
    for tensor in reader.tensors:
        if tensor.name not in by_name:
            raise ModelBroken(
                f"{source} has a tensor {tensor.name} that the tuned model lacks: is it its base?"
            )
        data = by_name[tensor.name].to(torch.float32).numpy()
        if data.ndim == 1:
            writer.add_tensor(tensor.name, data)
        elif kind == "Q8_0" and data.shape[-1] % Q8_BLOCK == 0:
            writer.add_tensor(tensor.name, quants.quantize(data, QUANTS[kind]), raw_dtype=QUANTS[kind])
        else:
            writer.add_tensor(tensor.name, data.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _by_gguf_name(model: Any, architecture: str) -> dict[str, torch.Tensor]:
    """The model's weights under GGUF's names and in its order of rows."""
    config = model.config
    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(kinds[architecture], config.num_hidden_layers)
    found: dict[str, torch.Tensor] = {}
    for name, weight in model.state_dict().items():
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if gguf_name is None:
            continue  # buffers, which GGUF does not keep
        data = weight.detach()
        if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            is_query = name.endswith("q_proj.weight")
            data = _interleaved(data, config.num_attention_heads if is_query else config.num_key_value_heads)
        found[gguf_name] = data
    return found


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """[H * D, C] -> the same, each head's rows in Llama's first order: rotary pairs side by side."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)
