"""CodeGen's and GPT-J's layers, fused; torch_model.py uses them in place of transformers' own.

In both, attention and MLP read the same normalised input, and both are added to what came in. CodeGen's
queries, keys and values are put in GPT-J's order, and from there on the two families are one.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from typing import Any

import torch
from torch import Tensor, nn

from server.engine.torch_attention import Attention
from server.engine.torch_linear import Numbers, linear

CODEGEN_BLOCKS = 4
"""CodeGen's `qkv_proj` is stored in this many blocks, each with its queries, values and keys."""


class ParallelDecoder(nn.Module):
    """`model` is a CodeGenForCausalLM or GPTJForCausalLM, whose weights are taken out of it."""

    def __init__(self, model: Any, numbers: Numbers) -> None:
        super().__init__()
        blocks = model.transformer.h
        self._embedding = model.transformer.wte
        self._layers = nn.ModuleList()
        for index in range(len(blocks)):
            self._layers.append(ParallelLayer(blocks[index], model.config, numbers))
            blocks[index] = nn.Identity()
        self._norm = model.transformer.ln_f
        self._head = linear(model.lm_head.weight, model.lm_head.bias, numbers)
        width = model.config.rotary_dim or model.config.n_embd
        exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        self._frequencies = nn.Buffer(1.0 / (10000**exponents), persistent=False)

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


class ParallelLayer(nn.Module):
    """One block of transformers' model."""

    def __init__(self, block: Any, config: Any, numbers: Numbers) -> None:
        super().__init__()
        self._heads = config.n_head
        self._head_dim = config.n_embd // config.n_head
        self._norm = block.ln_1
        self._qkv = linear(merged_qkv(block.attn), None, numbers)
        self._out = linear(block.attn.out_proj.weight, None, numbers)
        self._fc_in = linear(block.mlp.fc_in.weight, block.mlp.fc_in.bias, numbers)
        self._fc_out = linear(block.mlp.fc_out.weight, block.mlp.fc_out.bias, numbers)

    def forward(self, index: int, hidden: Tensor, turn: Tensor, attention: Attention) -> Tensor:
        """[T, C] -> [T, C]."""
        normal = self._norm(hidden)
        heads = self._qkv(normal).view(len(hidden), 3 * self._heads, self._head_dim)
        rotate_(heads[:, : 2 * self._heads], turn)
        seen = attention(index, *heads.split(self._heads, 1), scale=self._head_dim**-0.5)
        hidden = self._out.added_to(hidden, seen.reshape(hidden.shape))
        return self._fc_out.added_to(hidden, self._fc_in.with_gelu(normal))


def merged_qkv(attention: Any) -> Tensor:
    """[3 C, C]: queries, keys, values, of either family's attention module."""
    if not hasattr(attention, "qkv_proj"):
        return torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    merged = attention.qkv_proj.weight
    width = merged.shape[1]
    blocks = merged.view(CODEGEN_BLOCKS, 3, width // CODEGEN_BLOCKS, width)
    query, value, key = (blocks[:, part].reshape(width, width) for part in range(3))
    return torch.cat((query, key, value))


def rotate_(heads: Tensor, turn: Tensor) -> None:
    """float [T, H, D], complex64 [T, 1, R / 2]: turns the pairs (0, 1), (2, 3) … of the first R, in place."""
    part = heads[..., : 2 * turn.shape[-1]]
    pairs = torch.view_as_complex(part.float().unflatten(-1, (-1, 2)))
    part.copy_(torch.view_as_real(pairs * turn).flatten(-2))
