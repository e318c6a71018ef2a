"""Attention of one step of the torch engine: each chunk against its own row of the KV cache.

A step is a flat run of tokens, chunk after chunk. Decoders of ours call `StepAttention` themselves; models of
transformers reach it through its registry, under `ROW_ATTENTION`, and get it as the argument `row_attention`.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from server.engine.torch_cache import KvCache
from server.engine.torch_step import Chunk

ROW_ATTENTION = "acepilot_rows"

FEW_QUERIES = 16
"""Tokens of a chunk up to which `attend_few` is the faster way."""


class StepAttention:
    """Made once a step. Masks that several layers share are made once."""

    def __init__(self, cache: KvCache, chunks: Sequence[Chunk]) -> None:
        self._cache = cache
        self._chunks = chunks
        self._lengths = [len(chunk.token_ids) for chunk in chunks]
        self._masks: dict[tuple[int, int | None], Tensor] = {}

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        """float [T, H, D], twice [T, h, D] -> [T, H, D]; keys and values go into the cache."""
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        lengths = self._lengths
        parts = zip(query.split(lengths), key.split(lengths), value.split(lengths), strict=True)
        outputs: list[Tensor] = []
        for index, (q, k, v) in enumerate(parts):
            chunk = self._chunks[index]
            end = chunk.start + len(q)
            keys[chunk.slot, :, chunk.start : end] = k.transpose(0, 1)
            values[chunk.slot, :, chunk.start : end] = v.transpose(0, 1)
            row = keys[chunk.slot, :, :end], values[chunk.slot, :, :end]
            few = q.device.type == "cpu" and len(q) <= FEW_QUERIES
            attend = attend_few if few else attend_many
            outputs.append(attend(q, *row, scale, self._mask(index, q, window)))
        return torch.cat(outputs) if len(outputs) > 1 else outputs[0]

    def _mask(self, index: int, query: Tensor, window: int | None) -> Tensor | None:
        """None where plain causal masking is right; else what is added to the scores, [T, T of row]."""
        start, length = self._chunks[index].start, self._lengths[index]
        if window is not None and start + length <= window:
            window = None
        if window is None and (start == 0 or length == 1):
            return None
        wanted = (index, window)
        if wanted not in self._masks:
            at = torch.arange(start, start + length, device=query.device)[:, None]
            seen = torch.arange(start + length, device=query.device)[None]
            visible = seen <= at
            if window is not None:
                visible &= seen > at - window
            blank = torch.zeros(visible.shape, dtype=query.dtype, device=query.device)
            self._masks[wanted] = blank.masked_fill(~visible, float("-inf"))
        return self._masks[wanted]


def attend_many(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """float [T, H, D], twice [h, L, D] with h dividing H, [T, L] or None -> [T, H, D]. No mask: causal.

    torch's fused kernels, and its plain one, keep the scores in float32 whatever the inputs' type.
    """
    out = functional.scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        keys[None],
        values[None],
        attn_mask=mask,
        is_causal=mask is None and len(query) > 1,
        scale=scale,
        enable_gqa=query.shape[1] != keys.shape[0],
    )
    return out[0].transpose(0, 1)


def attend_few(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """The same, for a CPU and few tokens: with 1 of them, 1,088 keys and 16 heads 0.4 ms for torch's 1.8.

    All in float32: it keeps the scores safe, and what is made of the keys does not leave the CPU's cache.
    """
    tokens, heads, width = query.shape
    groups = heads // len(keys)
    # [h, groups * T, D]: heads that share keys are rows of one product
    rows = (
        query.float().view(tokens, len(keys), groups, width).permute(1, 2, 0, 3).reshape(len(keys), -1, width)
    )
    scores = torch.bmm(rows, keys.float().transpose(1, 2)).mul_(scale)
    if mask is not None:
        scores.view(len(keys), groups, tokens, -1).add_(mask)
    out = torch.bmm(scores.softmax(-1), values.float()).view(len(keys), groups, tokens, width)
    return out.permute(2, 0, 1, 3).reshape(query.shape).to(query.dtype)


def row_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    *,
    row_attention: StepAttention,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: float [1, H, T, D] in, [1, T, H, D] out."""
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    return row_attention(module.layer_idx, query, key, value, scaling, sliding_window)[None], None  # pyright: ignore[reportArgumentType]


AttentionInterface.register(ROW_ATTENTION, row_attention_forward)
