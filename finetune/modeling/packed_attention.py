"""Fused attention for packed rows, used by every model that `LossModel` wraps.

A packed row has several documents, and `position_ids` restart at 0 with each. Attention is computed document
by document with torch's fused kernel: no document sees another one, no [T, T] mask is made, and the work
falls from T² to the sum of the documents' squares. transformers calls `packed_attention`, which is registered
with it. The caller of the model passes the documents' lengths as the keyword argument `document_lengths`,
which transformers' layers pass on.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

PACKED_ATTENTION = "acepilot_packed"
PACKED_FAMILIES = frozenset(
    {"codegen", "gpt_bigcode", "gptj", "llama", "mistral", "qwen2", "qwen3", "starcoder2"}
)
"""Families with plain causal attention. The tests compare each with transformers' own attention."""


def document_lengths(position_ids: Tensor) -> list[int]:
    """Return the number of tokens of each document of int [B, T], row after row; their sum is B * T."""
    starts = position_ids == 0
    starts[:, 0] = True  # a row may begin in the middle of a document
    bounds: list[int] = torch.nonzero(starts.flatten()).flatten().tolist()
    ends = [*bounds[1:], starts.numel()]
    return [end - start for start, end in zip(bounds, ends, strict=True)]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    document_lengths: list[int],
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute float [B, H, T, D] (key and value may have fewer heads) -> [B, T, H, D].

    The signature is transformers' attention interface. torch's fused kernels, and its plain one, keep the
    scores in float32 whatever the inputs' type: float16 does not overflow here. There is no dropout: the
    published models have none.
    """
    batch, heads, tokens, width = query.shape
    # Not slices: the backward pass of a slice writes a gradient of the whole tensor, that of `split` a part.
    parts = [
        tensor.transpose(1, 2)
        .reshape(1, batch * tokens, tensor.shape[1], width)
        .transpose(1, 2)
        .split(document_lengths, 2)
        for tensor in (query, key, value)
    ]
    outputs = [
        functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=heads != key.shape[1]
        )
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).reshape(batch, tokens, heads, width), None


AttentionInterface.register(PACKED_ATTENTION, packed_attention)


def use_packed_attention(model: PreTrainedModel) -> bool:
    """Change `model` and torch's choice of attention kernels in place; return whether `model` packs.

    A model that does not pack keeps its own attention, which isolates documents by position_ids too.
    """
    # On Hopper cards torch prefers cuDNN's attention, which builds a plan for every new length, and documents
    # have all lengths: on an H100 a row of 2,048 tokens of CodeGen 2.7B takes 1.2 to 2.5 s with it, else 0.4
    # s.
    torch.backends.cuda.enable_cudnn_sdp(False)
    slides = getattr(model.config, "sliding_window", None) is not None
    if model.config.model_type not in PACKED_FAMILIES or slides:
        return False
    model.set_attn_implementation(PACKED_ATTENTION)
    return True
