"""CodeGen and GPT-J for the trace, built from a config and stored weights.

They do not use transformers' layers, so a release of transformers cannot change them. In both families
attention and MLP read the same normalised input, and both outputs are added to the layer's input. Attention
is written in Llama's form, for which OpenVINO has fused operations: one matrix for queries, keys and values,
and in each head the two numbers of a rotary pair, (0, 1), (2, 3) ..., half a rotary width apart. Queries and
keys are reordered alike, so their products stay the same.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import torch
from torch import Tensor, nn
from torch.nn import functional

from acepilot.errors import ConfigError
from finetune.convert.gptj import separated
from finetune.convert.openvino.layers import PastAttention, StoredLinear, StoredMatrix
from finetune.convert.source import Source

PARALLEL_FAMILIES = frozenset({"codegen", "gptj"})


class ParallelModel(nn.Module):
    """A model of PARALLEL_FAMILIES. Raises ConfigError for an activation that no published model has."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        config = source.config
        if config.activation_function != "gelu_new":
            raise ConfigError(
                f"{source.path} has the activation function {config.activation_function}; supported is only "
                "gelu_new, which all published CodeGen and GPT-J models have.",
                field="to",
            )
        rotary_dim = config.rotary_dim or config.n_embd // config.n_head
        exponents = torch.arange(0, rotary_dim, 2, dtype=torch.int64) / rotary_dim
        self.frequencies = nn.Buffer(1.0 / 10000**exponents, persistent=False)
        self.embedding = _stored(source, "transformer.wte.weight", table=True)
        self.blocks = nn.ModuleList(_Block(source, layer, rotary_dim) for layer in range(config.n_layer))
        self.norm = _norm(source, "transformer.ln_f")
        tied = config.tie_word_embeddings
        head = _stored(source, "transformer.wte.weight" if tied else "lm_head.weight")
        self.head = StoredLinear(head, _read(source, "lm_head.bias"))

    def forward(self, input_ids: Tensor, position_ids: Tensor, attention: PastAttention) -> Tensor:
        """Compute int64 [B, T] ids and positions -> float32 [B, T, V]."""
        angles = position_ids[:, :, None].float() * self.frequencies
        cos, sin = (torch.cat((part, part), -1)[:, None] for part in (angles.cos(), angles.sin()))
        hidden = self.embedding(input_ids)
        for layer, block in enumerate(self.blocks):
            hidden = block(layer, hidden, cos, sin, attention)
        return self.head(self.norm(hidden))


class _Block(nn.Module):
    """One layer: attention and MLP beside each other."""

    def __init__(self, source: Source, layer: int, rotary_dim: int) -> None:
        super().__init__()
        self.heads, self.width = source.config.n_head, source.config.n_embd
        self.rotary_dim = rotary_dim
        prefix = f"transformer.h.{layer}."
        self.norm = _norm(source, f"{prefix}ln_1")
        self.qkv = StoredMatrix(
            f"{prefix}attn.qkv",
            (3 * self.width, self.width),
            lambda: merged_qkv(source, f"{prefix}attn.", rotary_dim),
            table=False,
        )
        self.out = _linear(source, f"{prefix}attn.out_proj", bias=False)
        self.fc_in = _linear(source, f"{prefix}mlp.fc_in")
        self.fc_out = _linear(source, f"{prefix}mlp.fc_out")

    def forward(
        self, layer: int, hidden: Tensor, cos: Tensor, sin: Tensor, attention: PastAttention
    ) -> Tensor:
        """Compute float [B, T, C], cos and sin [B, 1, T, R] -> [B, T, C]."""
        batch, tokens = hidden.shape[:2]
        normal = self.norm(hidden)
        heads = self.qkv(normal).view(batch, tokens, 3 * self.heads, -1).transpose(1, 2)
        query, key, value = heads.split(self.heads, 1)
        query, key = self._rotated(query, cos, sin), self._rotated(key, cos, sin)
        attended = attention(layer, query, key, value, (self.width // self.heads) ** -0.5)
        attended = self.out(attended.reshape(batch, tokens, self.width))
        mlp = self.fc_out(functional.gelu(self.fc_in(normal), approximate="tanh"))
        return attended + mlp + hidden

    def _rotated(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate float [B, H, T, D] by cos and sin [B, 1, T, R] -> [B, H, T, D]."""
        rotary, rest = heads[..., : self.rotary_dim], heads[..., self.rotary_dim :]
        first, second = rotary.chunk(2, -1)
        rotated = rotary * cos + torch.cat((-second, first), -1) * sin
        return torch.cat((rotated, rest), -1)


def merged_qkv(source: Source, prefix: str, rotary_dim: int) -> Tensor:
    """Return [3 C, C]: queries, keys and values, in the order of rows described at the top."""
    heads, width = source.config.n_head, source.config.n_embd
    if source.config.model_type == "codegen":
        parts = separated(source.weights[f"{prefix}qkv_proj.weight"], heads)
    else:
        parts = tuple(source.weights[f"{prefix}{letter}_proj.weight"] for letter in "qkv")
    rotary = torch.arange(rotary_dim).unflatten(0, (-1, 2)).T.flatten()
    order = torch.cat((rotary, torch.arange(rotary_dim, width // heads)))
    query, key = (part.unflatten(0, (heads, -1))[:, order].flatten(0, 1) for part in parts[:2])
    return torch.cat((query, key, parts[2]))


def _read(source: Source, name: str) -> Tensor:
    return source.weights[name].detach().float()


def _stored(source: Source, name: str, *, table: bool = False) -> StoredMatrix:
    outputs, inputs = source.weights[name].shape
    return StoredMatrix(name, (outputs, inputs), lambda: source.weights[name].detach(), table=table)


def _linear(source: Source, name: str, *, bias: bool = True) -> StoredLinear:
    return StoredLinear(_stored(source, f"{name}.weight"), _read(source, f"{name}.bias") if bias else None)


def _norm(source: Source, name: str) -> nn.LayerNorm:
    norm = nn.LayerNorm(source.config.n_embd, eps=source.config.layer_norm_epsilon)
    norm.weight = nn.Parameter(_read(source, f"{name}.weight"), requires_grad=False)
    norm.bias = nn.Parameter(_read(source, f"{name}.bias"), requires_grad=False)
    return norm
