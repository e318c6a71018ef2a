"""A model as openvino.py traces it: no matrix is in memory, attention is one operation, the cache is a list.

`StoredMatrix` stands where a Linear or an Embedding was: the trace needs only the shapes, and the graph gets
the compressed matrix when it is built. So a model of any size is traced at once, in the memory of its result.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from finetune.convert.check import empty_model
from finetune.convert.gptj import separated
from finetune.convert.source import Source

TRACED_ATTENTION = "acepilot_traced"
INTERFACED = frozenset({"gpt_bigcode", "llama", "mistral", "qwen2", "qwen3", "starcoder2"})
"""Families whose layers call a registered attention, and take a cache and a mask as they are given."""
ROTARY_PAIRS = frozenset({"codegen", "gptj"})
FAMILIES = INTERFACED | ROTARY_PAIRS


class StoredMatrix(nn.Module):
    """`read()`: float [O, I]. `name` is the same for matrices that are one, as tied ones are.

    What it computes is known to the graph only (openvino.py); `shape_like` is what the trace sees.
    """

    def __init__(self, name: str, shape: tuple[int, int], read: Callable[[], Tensor], *, table: bool) -> None:
        super().__init__()
        self.name = name
        self.read = read
        self.shape = shape
        self.is_table = table

    def shape_like(self, value: Tensor) -> Tensor:
        """[..., I] -> [..., O]; of a table, [...] -> [..., I]."""
        if self.is_table:
            return torch.zeros(*value.shape, self.shape[1])
        return torch.zeros(*value.shape[:-1], self.shape[0])


class StoredLinear(nn.Module):
    def __init__(self, matrix: StoredMatrix, bias: Tensor | None) -> None:
        super().__init__()
        self.matrix = matrix
        self.bias = bias if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, value: Tensor) -> Tensor:
        product = self.matrix(value)
        return product if self.bias is None else product + self.bias


class TracedModel(nn.Module):
    """int64 input_ids [B, T], attention_mask [B, P + T], position_ids [B, T]; `past`: float32 [B, H, P, D],
    keys and values of each layer in turn -> logits float32 [B, T, V], and `past` with the new tokens."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        model = empty_model(source.config)
        if source.config.model_type in ROTARY_PAIRS:
            for block in model.transformer.h:
                block.attn = RotaryPairAttention(block.attn, source)
        else:
            model.set_attn_implementation(TRACED_ATTENTION)
        store_matrices(model, source)
        self.decoder = model.base_model
        self.head = model.get_output_embeddings()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        cache = _Cache(past)
        total = attention_mask.shape[1]
        queries = torch.arange(total - input_ids.shape[1], total)[:, None]
        causal = torch.arange(total)[None] <= queries
        hidden = self.decoder(
            input_ids=input_ids,
            attention_mask=causal[None, None] & attention_mask[:, None, None].bool(),
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self.head(hidden), *cache.tensors


class _Cache:
    """What transformers' layers ask of a cache."""

    is_compileable = False

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = list(tensors)

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        """float [B, H, T, D] each -> [B, H, P + T, D]."""
        at = 2 * layer
        self.tensors[at] = torch.cat((self.tensors[at], key), 2)
        self.tensors[at + 1] = torch.cat((self.tensors[at + 1], value), 2)
        return self.tensors[at], self.tensors[at + 1]

    def get_seq_length(self, *_: Any) -> int:
        return self.tensors[0].shape[2]


def traced_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: float [B, H, T, D] in, [B, T, H, D] out.

    Keys and values of fewer heads are repeated in the one form that OpenVINO's paged attention knows.
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (
            heads[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) for heads in (key, value)
        )
    out = functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
    return out.transpose(1, 2), None


AttentionInterface.register(TRACED_ATTENTION, traced_attention)


class RotaryPairAttention(nn.Module):
    """CodeGen's and GPT-J's attention in Llama's form, for which OpenVINO has fused operations.

    Queries, keys and values are one matrix, in this order; and in each head the pairs that turn together,
    (0, 1), (2, 3) …, lie half a width apart, which changes no product of a query and a key.
    """

    def __init__(self, attention: Any, source: Source) -> None:
        super().__init__()
        config = source.config
        self.layer = attention.layer_idx
        self.heads, self.width = config.n_head, config.n_embd
        self.rotary_dim = config.rotary_dim or config.n_embd // config.n_head
        exponents = torch.arange(0, self.rotary_dim, 2, dtype=torch.int64) / self.rotary_dim
        self.frequencies = nn.Buffer(1.0 / 10000**exponents, persistent=False)
        prefix = f"transformer.h.{self.layer}.attn."
        self.qkv_proj = StoredMatrix(
            f"{prefix}qkv", (3 * self.width, self.width), lambda: self.merged(source, prefix), table=False
        )
        self.out_proj = attention.out_proj

    def merged(self, source: Source, prefix: str) -> Tensor:
        """[3 C, C]."""
        if source.config.model_type == "codegen":
            parts = separated(source.weights[f"{prefix}qkv_proj.weight"], self.heads)
        else:
            parts = tuple(source.weights[f"{prefix}{letter}_proj.weight"] for letter in "qkv")
        turning = torch.arange(self.rotary_dim).unflatten(0, (-1, 2)).T.flatten()
        order = torch.cat((turning, torch.arange(self.rotary_dim, self.width // self.heads)))
        query, key = (part.unflatten(0, (self.heads, -1))[:, order].flatten(0, 1) for part in parts[:2])
        return torch.cat((query, key, parts[2]))

    def forward(
        self,
        hidden_states: Tensor,
        layer_past: _Cache,
        attention_mask: Tensor,
        position_ids: Tensor,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """float [B, T, C], bool [B, 1, T, P + T], int64 [B, T] -> float [B, T, C]."""
        batch, tokens = hidden_states.shape[:2]
        heads = self.qkv_proj(hidden_states).view(batch, tokens, 3 * self.heads, -1).transpose(1, 2)
        query, key, value = heads.split(self.heads, 1)
        angles = position_ids[:, :, None].float() * self.frequencies
        cos, sin = (torch.cat((part, part), -1)[:, None] for part in (angles.cos(), angles.sin()))
        query, key = self.rotated(query, cos, sin), self.rotated(key, cos, sin)
        key, value = layer_past.update(key, value, self.layer)
        scale = (self.width // self.heads) ** -0.5
        out = traced_attention(self, query, key, value, attention_mask, scale)[0]
        return self.out_proj(out.reshape(batch, tokens, self.width)), None

    def rotated(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """float [B, H, T, D], and [B, 1, T, R] twice."""
        turning, rest = heads[..., : self.rotary_dim], heads[..., self.rotary_dim :]
        first, second = turning.chunk(2, -1)
        turned = turning * cos + torch.cat((-second, first), -1) * sin
        return torch.cat((turned, rest), -1)


def store_matrices(model: Any, source: Source) -> None:
    """Changes `model`, whose parameters are empty: matrices stay in the files, all others are read."""
    first_names = {id(weight): name for name, weight in model.named_parameters()}

    def stored(module: nn.Module, *, table: bool) -> StoredMatrix:
        weight: Any = module.weight
        name = first_names[id(weight)]
        return StoredMatrix(name, tuple(weight.shape), lambda: source.weights[name].detach(), table=table)

    def read(parameter: Any) -> nn.Parameter:
        return nn.Parameter(source.weights[first_names[id(parameter)]].detach().float(), requires_grad=False)

    for parent in list(model.modules()):
        if isinstance(parent, nn.Linear | nn.Embedding):
            continue  # their places are taken below
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.Linear):
                bias: Any = module.bias
                matrix = stored(module, table=False)
                setattr(parent, name, StoredLinear(matrix, None if bias is None else read(bias)))
            elif isinstance(module, nn.Embedding):
                setattr(parent, name, stored(module, table=True))
        for name, parameter in list(parent.named_parameters(recurse=False)):
            setattr(parent, name, read(parameter))
