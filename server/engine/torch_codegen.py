"""CodeGen's and GPT-J's layers, fused; torch_model.py uses them in place of transformers' own.

In both, attention and MLP read the same normalised input and are added to it together (a parallel residual).
So the first projections of both are one matrix here, and the second ones another.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from server.engine.torch_attention import StepAttention

CODEGEN_BLOCKS = 4
"""CodeGen's `qkv_proj` is stored in this many blocks, each with its queries, values and keys."""


class ParallelDecoder(nn.Module):
    """`model` is a CodeGenForCausalLM or GPTJForCausalLM, whose weights are taken over."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._embedding = model.transformer.wte
        self._layers = nn.ModuleList(ParallelLayer(block, model.config) for block in model.transformer.h)
        self._norm = model.transformer.ln_f
        self._head = model.lm_head
        width = model.config.rotary_dim or model.config.n_embd
        exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        self._frequencies = nn.Buffer(1.0 / (10000**exponents), persistent=False)

    def hidden(self, token_ids: Tensor, positions: Tensor, attention: StepAttention) -> Tensor:
        """int64 [T] each -> [T, C]."""
        angles = positions[:, None, None].float() * self._frequencies
        turn = angles.cos(), angles.sin()
        hidden = self._embedding(token_ids)
        for index, layer in enumerate(self._layers):
            hidden = layer(index, hidden, turn, attention)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, C] -> [N, V]."""
        return self._head(self._norm(hidden))


class ParallelLayer(nn.Module):
    def __init__(self, block: Any, config: Any) -> None:
        super().__init__()
        self._heads = config.n_head
        self._head_dim = config.n_embd // config.n_head
        self._norm = block.ln_1
        qkv = merged_qkv(block.attn, config.n_embd)
        fc_in, fc_out = block.mlp.fc_in, block.mlp.fc_out
        bias = torch.cat((fc_in.bias.new_zeros(len(qkv)), fc_in.bias))
        self._first = linear(torch.cat((qkv, fc_in.weight)), bias)
        self._second = linear(torch.cat((block.attn.out_proj.weight, fc_out.weight), 1), fc_out.bias)

    def forward(
        self, index: int, hidden: Tensor, turn: tuple[Tensor, Tensor], attention: StepAttention
    ) -> Tensor:
        """[T, C] -> [T, C]."""
        width = hidden.shape[1]
        qkv, inner = self._first(self._norm(hidden)).split((3 * width, self._second.in_features - width), 1)
        query, key, value = qkv.view(len(hidden), 3, self._heads, self._head_dim).unbind(1)
        seen = attention(index, rotate(query, *turn), rotate(key, *turn), value, self._head_dim**-0.5)
        both = torch.cat((seen.flatten(1), functional.gelu(inner, approximate="tanh")), 1)
        return hidden + self._second(both)


def merged_qkv(attention: Any, width: int) -> Tensor:
    """[3 C, C]: queries, keys, values, of either family's attention module."""
    if not hasattr(attention, "qkv_proj"):
        return torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    blocks = attention.qkv_proj.weight.view(CODEGEN_BLOCKS, 3, width // CODEGEN_BLOCKS, width)
    query, value, key = (blocks[:, part].reshape(width, width) for part in range(3))
    return torch.cat((query, key, value))


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """[out, in], [out] -> a layer that holds them."""
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight, made.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return made


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """float [T, H, D], float32 [T, 1, R / 2] twice: turns the pairs (0, 1), (2, 3) … of the first R."""
    rotary_dim = 2 * cos.shape[-1]
    turned, rest = heads[..., :rotary_dim].float(), heads[..., rotary_dim:]
    even, odd = turned[..., ::2], turned[..., 1::2]
    pairs = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return torch.cat((pairs.flatten(-2).to(heads.dtype), rest), dim=-1)
