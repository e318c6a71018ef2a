"""Fused attention for packed rows, used by every model that `modeling.load_model` gives to training.

A packed row holds several documents, told apart by `position_ids` that restart at 0. Attention is computed
document by document with torch's fused kernel: a document never sees another one, no [T, T] mask is ever
made, and the work falls from T² to the sum of the documents' squares. transformers registers it under
`PACKED_ATTENTION`; CodeGen, which takes no registered attention, gets `PackedCodeGenAttention` instead.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, PreTrainedModel
from transformers.models.codegen.modeling_codegen import CodeGenAttention

PACKED_ATTENTION = "acepilot_packed"
REGISTERED_FAMILIES = frozenset({"llama", "qwen2", "qwen3"})
"""Families whose layers hand position_ids on to the attention function, which is the plain one."""

CODEGEN_BLOCKS = 4
"""CodeGen's `qkv_proj` is stored in this many blocks, each with its queries, values and keys."""

_lengths_of = WeakTensorKeyDictionary()
"""position_ids -> document lengths: read once a batch, not once a layer, as reading waits for the GPU."""


def document_lengths(position_ids: Tensor, batch: int) -> list[int]:
    """int [B or 1, T] -> the tokens of each document of all `batch` rows, in order; in all batch * T."""
    known: list[int] | None = _lengths_of.get(position_ids)
    if known is None:
        starts = position_ids == 0
        starts[:, 0] = True  # a row that was cut may begin within a document
        bounds = torch.nonzero(starts.flatten()).flatten().tolist()
        ends = [*bounds[1:], starts.numel()]
        known = [end - start for start, end in zip(bounds, ends, strict=True)]
        note_lengths(position_ids, known)
    return known * (batch // position_ids.shape[0])


def note_lengths(position_ids: Tensor, lengths: list[int]) -> None:
    """For a caller who knows them: the planner's fake tensors hold no numbers to read."""
    _lengths_of[position_ids] = lengths


def attend(query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float) -> Tensor:
    """float [B, T, H, D] each (key and value may have fewer heads) -> [B, T, H, D].

    torch's fused kernels, and its plain one, keep the scores in float32 whatever the inputs' type: float16
    does not overflow here. There is no dropout: the published models have none.
    """
    batch, tokens = query.shape[:2]
    # `split`, not slices: the backward of a slice writes a whole gradient, that of a split its part
    parts = [
        tensor.reshape(1, batch * tokens, tensor.shape[2], tensor.shape[3]).transpose(1, 2).split(lengths, 2)
        for tensor in (query, key, value)
    ]
    outputs = [
        functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=query.shape[2] != key.shape[2]
        )
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).reshape(query.shape)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    position_ids: Tensor,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: float [B, H, T, D] in, [B, T, H, D] out."""
    lengths = document_lengths(position_ids, query.shape[0])
    out = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), lengths, scaling)
    return out, None


AttentionInterface.register(PACKED_ATTENTION, packed_attention)


class PackedCodeGenAttention(CodeGenAttention):
    """CodeGen's attention with the same weights and, to float32's rounding, the same result.

    Rotary angles are computed in float32 at each call: the model's own table becomes half precision with the
    weights, and then positions beyond 1,000 blur.
    """

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - no cache and no weights given back
        self,
        hidden_states: Tensor,
        layer_past: None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        use_cache: bool | None = False,
        output_attentions: bool | None = False,
    ) -> tuple[Tensor, None]:
        """float [B, T, C], int position_ids [B, T] -> float [B, T, C]; the mask is what the lengths say."""
        assert position_ids is not None  # noqa: S101 - CodeGenModel always gives it
        batch, tokens, width = hidden_states.shape
        qkv = self.qkv_proj(hidden_states).view(batch, tokens, CODEGEN_BLOCKS, 3, -1, self.head_dim)
        query, value, key = (part.flatten(2, 3) for part in qkv.unbind(3))
        cos, sin = rotary_angles(position_ids, self.rotary_dim or self.head_dim)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        out = attend(query, key, value, document_lengths(position_ids, batch), self.head_dim**-0.5)
        return self.out_proj(out.reshape(batch, tokens, width)), None


def rotary_angles(position_ids: Tensor, rotary_dim: int) -> tuple[Tensor, Tensor]:
    """int [B, T] -> cosine and sine, float32 [B, T, 1, rotary_dim / 2]; GPT-J's frequencies."""
    exponents = torch.arange(0, rotary_dim, 2, device=position_ids.device, dtype=torch.float32) / rotary_dim
    angles = position_ids[:, :, None, None].float() * (1.0 / (10000**exponents))
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """float [B, T, H, D]: turns the pairs (0, 1), (2, 3) … of the first dimensions, in float32."""
    rotary_dim = 2 * cos.shape[-1]
    turned, rest = heads[..., :rotary_dim].float(), heads[..., rotary_dim:]
    even, odd = turned[..., ::2], turned[..., 1::2]
    pairs = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return torch.cat((pairs.flatten(-2).to(heads.dtype), rest), dim=-1)


def use_packed_attention(model: PreTrainedModel) -> None:
    """Changes `model` in place, and torch's choice of attention kernels; weights and their names stay.

    A model that knows neither way keeps its own attention, which isolates documents by position_ids too.
    """
    # Hopper's first choice. It builds a plan for every length it has not met, and documents have all lengths:
    # a row of 2,048 tokens of CodeGen 2.7B took 1.2 to 2.5 s with it on an H100, and 0.4 s without.
    torch.backends.cuda.enable_cudnn_sdp(False)
    attentions = [module for module in model.modules() if type(module) is CodeGenAttention]
    for module in attentions:
        module.__class__ = PackedCodeGenAttention
    slides = getattr(model.config, "use_sliding_window", False)
    if model.config.model_type in REGISTERED_FAMILIES and not slides:
        model.set_attn_implementation(PACKED_ATTENTION)
