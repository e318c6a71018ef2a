"""The tensors of a GGUF file: names, shapes and order of rows, from the config and weights of the source."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from gguf import GGMLQuantizationType as Quant
from numpy.typing import NDArray
from torch import Tensor
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from acepilot.errors import ModelBroken
from finetune.convert.source import Source
from finetune.convert.streaming import empty_model

GgufType = Literal["F16", "Q8_0"]

Q8_BLOCK = 32
"""Numbers in one block of Q8_0. A tensor whose rows this does not divide is stored as F16."""


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of the file. `read()` returns its float32 numbers in `shape`."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float32]]

    def stored_as(self, kind: GgufType) -> Quant:
        if len(self.shape) == 1:
            return Quant.F32
        return Quant.Q8_0 if kind == "Q8_0" and self.shape[-1] % Q8_BLOCK == 0 else Quant.F16


def gguf_tensors(source: Source, architecture: str) -> list[GgufTensor]:
    """Return all tensors of the file. Raises ModelBroken when the weights do not fit the config."""
    config = source.config
    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(kinds[architecture], config.num_hidden_layers)
    found: list[GgufTensor] = []
    for name, empty in empty_model(config).named_parameters():
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if gguf_name is None or name not in source.weights:
            raise ModelBroken(
                f"The weights of {source.path} do not fit its config.json: {name} is missing, or GGUF has "
                "no name for it. Fetch or export the model again."
            )
        found.append(GgufTensor(gguf_name, tuple(empty.shape), _reader(source, name, architecture)))
    if config.rope_parameters["rope_type"] == "llama3":
        factors = _rope_factors(config)
        found.append(GgufTensor("rope_freqs.weight", factors.shape, lambda: factors))
    return found


def head_dim(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _reader(source: Source, name: str, architecture: str) -> Callable[[], NDArray[np.float32]]:
    config = source.config
    part = name.split(".")[-2]

    def read() -> NDArray[np.float32]:
        weight = source.weights[name].detach().float()
        if architecture == "llama" and part in {"q_proj", "k_proj"}:
            heads = config.num_attention_heads if part == "q_proj" else config.num_key_value_heads
            weight = interleaved(weight, heads)
        return weight.numpy()

    return read


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Reorder [H * D, ...] so that the two rows of each rotary pair are neighbours, as in Llama's GGUFs."""
    return weight.unflatten(0, (heads, 2, -1)).swapaxes(1, 2).flatten(0, 2)  # pyright: ignore[reportUnknownVariableType]


def _rope_factors(config: Any) -> NDArray[np.float32]:
    """Return [D / 2]: the plain rotary frequencies divided by those of llama3's scaling."""
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    exponents = torch.arange(0, head_dim(config), 2, dtype=torch.float32) / head_dim(config)
    return (1.0 / config.rope_parameters["rope_theta"] ** exponents / scaled).numpy()
