"""CodeGen's and GPT-J's layers, fused, for the torch engine: made from a config and the stored weights.

No layers of transformers are used, so its releases cannot change them. In both families, attention and MLP
read the same normalised input, and both results are added to the layer's input. CodeGen's queries, keys and
values are put into GPT-J's order; then the two families are the same.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acepilot.errors import ModelBroken
from server.engine.torch.attention import Attention
from server.engine.torch.linear import Linear, WeightFormat, linear

PARALLEL_FAMILIES = frozenset({"codegen", "gptj"})

CODEGEN_BLOCKS = 4
"""CodeGen stores `qkv_proj` in this many blocks, each with queries, values and keys, in this order."""


class ParallelDecoder(nn.Module):
    """Implements `Decoder` in decoder.py for PARALLEL_FAMILIES.

    `config` is transformers' config; `weights` has the names that transformers stores, and each is read once.
    Raises ModelBroken for an activation function that no published model has, and what `weights` raises.
    """

    def __init__(self, config: Any, weights: Mapping[str, Tensor], weight_format: WeightFormat) -> None:
        super().__init__()
        if config.activation_function != "gelu_new":
            raise ModelBroken(
                f"The model's activation function is {config.activation_function}; the torch engine supports "
                "only gelu_new, which all published CodeGen and GPT-J models have."
            )
        parts = _Parts(config, weights, weight_format)
        self._embedding = nn.Embedding.from_pretrained(parts.read("transformer.wte.weight"))
        self._layers = nn.ModuleList(
            ParallelLayer(parts, f"transformer.h.{index}.") for index in range(config.n_layer)
        )
        self._norm = parts.norm("transformer.ln_f")
        head = self._embedding.weight if config.tie_word_embeddings else parts.read("lm_head.weight")
        self._head = linear(head, parts.read("lm_head.bias"), weight_format)
        width = config.rotary_dim or config.n_embd
        exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        frequencies = (1.0 / (10000**exponents)).to(weight_format.device)
        self._frequencies = nn.Buffer(frequencies, persistent=False)

    def hidden(self, token_ids: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        angles = positions[:, None, None].float() * self._frequencies
        rotation = torch.polar(torch.ones_like(angles), angles)
        hidden = self._embedding(token_ids)
        for index, layer in enumerate(self._layers):
            hidden = layer(index, hidden, rotation, attention)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(self._norm(hidden))


@dataclass(frozen=True)
class _Parts:
    """Makes layers from a model's weights, on the device and in the type of `weight_format`."""

    config: Any
    weights: Mapping[str, Tensor]
    weight_format: WeightFormat

    def read(self, name: str) -> Tensor:
        return self.weights[name].detach().to(self.weight_format.device, self.weight_format.dtype)

    def linear(self, name: str, *, bias: bool = True) -> Linear:
        bias_values = self.read(f"{name}.bias") if bias else None
        return linear(self.read(f"{name}.weight"), bias_values, self.weight_format)

    def norm(self, name: str) -> nn.LayerNorm:
        norm = nn.LayerNorm(self.config.n_embd, eps=self.config.layer_norm_epsilon)
        norm.weight = nn.Parameter(self.read(f"{name}.weight"), requires_grad=False)
        norm.bias = nn.Parameter(self.read(f"{name}.bias"), requires_grad=False)
        return norm

    def merged_qkv(self, prefix: str) -> Linear:
        """Return the layer for queries, keys and values together: weight [3 C, C]."""
        if self.config.model_type == "gptj":
            merged = torch.cat([self.read(f"{prefix}{letter}_proj.weight") for letter in "qkv"])
        else:
            fused = self.read(f"{prefix}qkv_proj.weight")
            query, value, key = fused.view(CODEGEN_BLOCKS, 3, -1, fused.shape[1]).unbind(1)
            merged = torch.cat([part.flatten(0, 1) for part in (query, key, value)])
        return linear(merged, None, self.weight_format)


class ParallelLayer(nn.Module):
    """The layer whose weights' names begin with `prefix`."""

    def __init__(self, parts: _Parts, prefix: str) -> None:
        super().__init__()
        self._heads = parts.config.n_head
        self._head_dim = parts.config.n_embd // parts.config.n_head
        self._norm = parts.norm(f"{prefix}ln_1")
        self._qkv = parts.merged_qkv(f"{prefix}attn.")
        self._out = parts.linear(f"{prefix}attn.out_proj", bias=False)
        self._fc_in = parts.linear(f"{prefix}mlp.fc_in")
        self._fc_out = parts.linear(f"{prefix}mlp.fc_out")

    def forward(self, index: int, hidden: Tensor, rotation: Tensor, attention: Attention) -> Tensor:
        """Compute the layer: [T, C] -> [T, C]."""
        normal = self._norm(hidden)
        heads = self._qkv(normal).view(len(hidden), 3 * self._heads, self._head_dim)
        rotate_(heads[:, : 2 * self._heads], rotation)
        seen = attention(index, *heads.split(self._heads, 1), scale=self._head_dim**-0.5)
        hidden = self._out.added_to(hidden, seen.reshape(hidden.shape))
        return self._fc_out.added_to(hidden, self._fc_in.with_gelu(normal))


def rotate_(heads: Tensor, rotation: Tensor) -> None:
    """Rotate the pairs (0, 1), (2, 3), … of each head's first R numbers, in place.

    `heads` is float [T, H, D], `rotation` complex64 [T, 1, R / 2].
    """
    part = heads[..., : 2 * rotation.shape[-1]]
    pairs = torch.view_as_complex(part.float().unflatten(-1, (-1, 2)))
    part.copy_(torch.view_as_real(pairs * rotation).flatten(-2))
