"""Attention of one step of the torch engine: each chunk against its own row of the KV cache.

A step is a flat run of tokens, chunk after chunk. Decoders of ours call `StepAttention` themselves; models of
transformers reach it through its registry, under `ROW_ATTENTION`, and get it as the argument `row_attention`.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from server.engine.torch_cache import KvCache
from server.engine.torch_rectangle import (
    TOKEN_SIZES,
    RectangleAttention,
    additive_mask,
    fill,
    filled,
    rectangle_size,
)
from server.engine.torch_step import Chunk

ROW_ATTENTION = "acepilot_rows"

FEW_TOKENS = 16
"""Tokens of a chunk up to which, on a CPU, `attend_few` is the faster way."""


class Attention(Protocol):
    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        """float [T, H, D], twice [T, h, D] with h dividing H -> [T, H, D].

        Keys and values go into the cache. `window`: how many positions each token sees, its own among them.
        """
        ...


class StepAttention:
    """See `Attention`. Made once a step; with `short_together`, one call computes all short chunks."""

    def __init__(self, cache: KvCache, chunks: Sequence[Chunk], *, short_together: bool) -> None:
        starts = accumulate((len(chunk.token_ids) for chunk in chunks), initial=0)
        placed = list(zip(chunks, starts, strict=False))
        self._parts: list[tuple[Attention, slice | Tensor]] = []
        short = [place for place in placed if len(place[0].token_ids) <= TOKEN_SIZES[-1]]
        if short_together and len(short) > 1:
            part = _together(cache, short)
            if part is not None:
                self._parts.append(part)
                placed = [place for place in placed if place not in short]
        for chunk, start in placed:
            self._parts.append((ChunkAttention(cache, chunk), slice(start, start + len(chunk.token_ids))))

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        out = torch.empty_like(query)
        for attend, part in self._parts:
            out[part] = attend(layer, query[part], key[part], value[part], scale, window)
        return out


def _together(cache: KvCache, placed: list[tuple[Chunk, int]]) -> tuple[Attention, Tensor] | None:
    """For chunks and where they start in the step: their attention, and which tokens of the step it wants."""
    chunks = [chunk for chunk, _ in placed]
    size = rectangle_size(chunks, cache.slot_tokens)
    if size is None:
        return None
    _, positions, slots = fill(chunks, size).to(cache.device)
    shifts = filled([start - chunk.start for chunk, start in placed], size.batch)
    wanted = positions + torch.tensor(shifts, device=cache.device)[:, None]
    return RectangleAttention(cache, positions, slots, size.length), wanted.flatten()


class ChunkAttention:
    """See `Attention`; of one chunk, which reads its row as it lies."""

    def __init__(self, cache: KvCache, chunk: Chunk) -> None:
        self._cache = cache
        self._slot = chunk.slot
        self._start = chunk.start
        self._end = chunk.start + len(chunk.token_ids)
        self._is_few = cache.device.type == "cpu" and len(chunk.token_ids) <= FEW_TOKENS
        self._masks: dict[int | None, Tensor | None] = {}

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        keys, values = self._cache.keys[layer][self._slot], self._cache.values[layer][self._slot]
        keys[:, self._start : self._end] = key.transpose(0, 1)
        values[:, self._start : self._end] = value.transpose(0, 1)
        if window not in self._masks:
            self._masks[window] = self._mask(query, window)
        attend = attend_few if self._is_few else attend_many
        return attend(query, keys[:, : self._end], values[:, : self._end], scale, self._masks[window])

    def _mask(self, query: Tensor, window: int | None) -> Tensor | None:
        """What is added to the scores, [T, end]; None where no key is hidden, or `attend_many` hides it."""
        if window is None or self._end <= window:
            hides_nothing = self._end - self._start == 1
            if hides_nothing or (self._start == 0 and not self._is_few):
                return None
        at = torch.arange(self._start, self._end, device=query.device)[:, None]
        return additive_mask(at, self._end, window, query.dtype)


def attend_many(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """float [T, H, D], twice [h, L, D] with h dividing H, [T, L] or None -> [T, H, D]. No mask: causal.

    torch's fused kernels, and its plain one, keep the scores in float32 whatever the inputs' type.
    """
    groups = query.shape[1] // len(keys)
    out = functional.scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        keys.repeat_interleave(groups, 0)[None] if groups > 1 else keys[None],
        values.repeat_interleave(groups, 0)[None] if groups > 1 else values[None],
        attn_mask=mask,
        is_causal=mask is None and len(query) > 1,
        scale=scale,
    )
    return out[0].transpose(0, 1)


def attend_few(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """The same for a CPU and few tokens, without a mask: all is seen. 0.4 ms where torch's kernel takes 1.8,
    with 1 token, 1,088 keys and 16 heads.

    All in float32: it keeps the scores safe, and what is made of the keys does not leave the CPU's cache.
    """
    tokens, heads, width = query.shape
    groups = heads // len(keys)
    # heads that share keys are rows of one product: [h, groups * T, D]
    grouped = query.float().view(tokens, len(keys), groups, width).permute(1, 2, 0, 3)
    scores = torch.bmm(grouped.reshape(len(keys), -1, width), keys.float().transpose(1, 2)).mul_(scale)
    if mask is not None:
        scores.view(len(keys), groups, tokens, -1).add_(mask)
    out = torch.bmm(scores.softmax(-1), values.float()).view(grouped.shape)
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
    row_attention: Attention,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: float [1, H, T, D] in, [1, T, H, D] out."""
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    layer: Any = module.layer_idx
    return row_attention(layer, query, key, value, scaling, sliding_window)[None], None


AttentionInterface.register(ROW_ATTENTION, row_attention_forward)
