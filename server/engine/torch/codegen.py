"""CodeGen's and GPT-J's layers, fused, for the torch engine: made whole from a config and stored weights.

None of transformers' layers is used, so that no release of transformers changes them. In both families
attention and MLP read the same normalised input, and both are added to what came in. CodeGen's queries, keys
and values are put in GPT-J's order, and from there on the two families are one.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acepilot.errors import ModelBroken
from server.engine.torch.attention import Attention
from server.engine.torch.linear import Linear, WeightFormat, linear

PARALLEL_FAMILIES = frozenset({"codegen", "gptj"})

CODEGEN_BLOCKS = 4
"""CodeGen's `qkv_proj` is stored in this many blocks, each with its queries, values and keys."""


class ParallelDecoder(nn.Module):
    """`config` is transformers' of a model of PARALLEL_FAMILIES; `weights` have the names of its files.

    Each weight is read once, where it is needed. Raises ModelBroken for another activation than the published
    models'; and what `weights` raises.
    """

    def __init__(self, config: Any, weights: Mapping[str, Tensor], numbers: WeightFormat) -> None:
        super().__init__()
        if config.activation_function != "gelu_new":
            raise ModelBroken(
                f"The model's activation function is {config.activation_function}; the torch engine knows "
                "gelu_new only, which all published CodeGen and GPT-J models have."
            )
        parts = _Parts(config, weights, numbers)
        self._embedding = nn.Embedding.from_pretrained(parts.read("transformer.wte.weight"))
        self._layers = nn.ModuleList(
            ParallelLayer(parts, f"transformer.h.{index}.") for index in range(config.n_layer)
        )
        self._norm = parts.norm("transformer.ln_f")
        head = self._embedding.weight if config.tie_word_embeddings else parts.read("lm_head.weight")
        self._head = linear(head, parts.read("lm_head.bias"), numbers)
        width = config.rotary_dim or config.n_embd
        exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        frequencies = (1.0 / (10000**exponents)).to(numbers.device)
        self._frequencies = nn.Buffer(frequencies, persistent=False)

    def hidden(self, token_ids: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        """int64 [T] each -> [T, C]."""
        angles = positions[:, None, None].float() * self._frequencies
        turn = torch.polar(torch.ones_like(angles), angles)
        hidden = self._embedding(token_ids)
        for index, layer in enumerate(self._layers):
            hidden = layer(index, hidden, turn, attention)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, C] -> [N, V]."""
        return self._head(self._norm(hidden))


class _Parts:
    """A model's weights as layers, where and in what numbers they compute."""

    def __init__(self, config: Any, weights: Mapping[str, Tensor], numbers: WeightFormat) -> None:
        self.config = config
        self.numbers = numbers
        self._weights = weights

    def read(self, name: str) -> Tensor:
        return self._weights[name].detach().to(self.numbers.device, self.numbers.dtype)

    def linear(self, name: str, *, bias: bool = True) -> Linear:
        return linear(self.read(f"{name}.weight"), self.read(f"{name}.bias") if bias else None, self.numbers)

    def norm(self, name: str) -> nn.LayerNorm:
        norm = nn.LayerNorm(self.config.n_embd, eps=self.config.layer_norm_epsilon)
        norm.weight = nn.Parameter(self.read(f"{name}.weight"), requires_grad=False)
        norm.bias = nn.Parameter(self.read(f"{name}.bias"), requires_grad=False)
        return norm

    def merged_qkv(self, prefix: str) -> Linear:
        """[3 C, C]: queries, keys, values."""
        if self.config.model_type == "gptj":
            merged = torch.cat([self.read(f"{prefix}{letter}_proj.weight") for letter in "qkv"])
        else:
            fused = self.read(f"{prefix}qkv_proj.weight")
            query, value, key = fused.view(CODEGEN_BLOCKS, 3, -1, fused.shape[1]).unbind(1)
            merged = torch.cat([part.flatten(0, 1) for part in (query, key, value)])
        return linear(merged, None, self.numbers)


class ParallelLayer(nn.Module):
    """The block whose weights' names begin with `prefix`."""

    def __init__(self, parts: _Parts, prefix: str) -> None:
        super().__init__()
        self._heads = parts.config.n_head
        self._head_dim = parts.config.n_embd // parts.config.n_head
        self._norm = parts.norm(f"{prefix}ln_1")
        self._qkv = parts.merged_qkv(f"{prefix}attn.")
        self._out = parts.linear(f"{prefix}attn.out_proj", bias=False)
        self._fc_in = parts.linear(f"{prefix}mlp.fc_in")
        self._fc_out = parts.linear(f"{prefix}mlp.fc_out")

    def forward(self, index: int, hidden: Tensor, turn: Tensor, attention: Attention) -> Tensor:
        """[T, C] -> [T, C]."""
        normal = self._norm(hidden)
        heads = self._qkv(normal).view(len(hidden), 3 * self._heads, self._head_dim)
        rotate_(heads[:, : 2 * self._heads], turn)
        seen = attention(index, *heads.split(self._heads, 1), scale=self._head_dim**-0.5)
        hidden = self._out.added_to(hidden, seen.reshape(hidden.shape))
        return self._fc_out.added_to(hidden, self._fc_in.with_gelu(normal))


def rotate_(heads: Tensor, turn: Tensor) -> None:
    """float [T, H, D], complex64 [T, 1, R / 2]: turns the pairs (0, 1), (2, 3) … of the first R, in place."""
    part = heads[..., : 2 * turn.shape[-1]]
    pairs = torch.view_as_complex(part.float().unflatten(-1, (-1, 2)))
    part.copy_(torch.view_as_real(pairs * turn).flatten(-2))
