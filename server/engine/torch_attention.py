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
        """float [T, H, D], twice [T, H of the cache, D] -> [T, H, D]; keys and values go into the cache.

        torch's fused kernels keep the scores in float32 whatever the inputs' type: float16 does not overflow.
        """
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        grouped = query.shape[1] != key.shape[1]
        outputs: list[Tensor] = []
        for index, (chunk, q, k, v) in enumerate(
            zip(
                self._chunks,
                query.split(self._lengths),
                key.split(self._lengths),
                value.split(self._lengths),
                strict=True,
            )
        ):
            end = chunk.start + len(q)
            keys[chunk.slot, :, chunk.start : end] = k.transpose(0, 1)
            values[chunk.slot, :, chunk.start : end] = v.transpose(0, 1)
            mask = self._mask(index, query, window)
            out = functional.scaled_dot_product_attention(
                q.transpose(0, 1)[None],
                keys[chunk.slot, None, :, :end],
                values[chunk.slot, None, :, :end],
                attn_mask=mask,
                is_causal=mask is None and len(q) > 1,
                scale=scale,
                enable_gqa=grouped,
            )
            outputs.append(out[0].transpose(0, 1))
        return torch.cat(outputs)

    def _mask(self, index: int, query: Tensor, window: int | None) -> Tensor | None:
        """None where plain causal (or no) masking is right; else added to the scores, [T, T of row]."""
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
