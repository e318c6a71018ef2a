"""Attention in a step of the torch engine: each row slice against its own row of the KV cache.

A step is a flat sequence of tokens, slice after slice. Our own decoders call `StepAttention` themselves.
Models of transformers find `row_attention_forward` in transformers' registry, under ROW_ATTENTION, and pass
it `StepAttention` as the argument `row_attention`.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from server.engine.scheduler.step import RowSlice
from server.engine.torch import padded_batch
from server.engine.torch.cache import KvCache
from server.engine.torch.padded_batch import PaddedBatchAttention

ROW_ATTENTION = "acepilot_rows"

SCORES_AT_ONCE = 1 << 20
"""Scores computed at once on a CPU: 4 MB, which stay in its cache from one operation to the next."""


class Attention(Protocol):
    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        """Attend: query float [T, H, D], key and value [T, h, D] with h dividing H -> [T, H, D].

        Writes key and value into the cache. `window` is the number of positions that each token sees, its own
        included; None means all.
        """
        ...


class StepAttention:
    """Implements `Attention` for one step. With `short_together`, one call computes all short slices."""

    def __init__(self, cache: KvCache, row_slices: Sequence[RowSlice], *, short_together: bool) -> None:
        starts = accumulate((len(row_slice.token_ids) for row_slice in row_slices), initial=0)
        placed = list(zip(row_slices, starts, strict=False))
        self._parts: list[tuple[Attention, slice | Tensor]] = []
        short = [place for place in placed if len(place[0].token_ids) <= padded_batch.TOKEN_SIZES[-1]]
        if short_together and len(short) > 1:
            part = _together(cache, short)
            if part is not None:
                self._parts.append(part)
                placed = [place for place in placed if place not in short]
        for row_slice, start in placed:
            tokens = slice(start, start + len(row_slice.token_ids))
            self._parts.append((RowSliceAttention(cache, row_slice), tokens))

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        attend, part = self._parts[0]
        if len(self._parts) == 1 and isinstance(part, slice):
            return attend(layer, query, key, value, scale, window)
        out = torch.empty_like(query)
        for attend, part in self._parts:
            out[part] = attend(layer, query[part], key[part], value[part], scale, window)
        return out


def _together(cache: KvCache, placed: list[tuple[RowSlice, int]]) -> tuple[Attention, Tensor] | None:
    """Return one attention for all `placed` slices, and the tokens of the step that belong to it.

    `placed` has each slice with its first token's index in the step. Returns None if they are too many.
    """
    row_slices = [row_slice for row_slice, _ in placed]
    size = padded_batch.size_for(row_slices, cache.slot_tokens)
    if size is None:
        return None
    _, positions, slots = padded_batch.fill(row_slices, size).to(cache.device)
    shifts = padded_batch.filled([start - row_slice.start for row_slice, start in placed], size.batch)
    wanted = positions + torch.tensor(shifts, device=cache.device)[:, None]
    return PaddedBatchAttention(cache, positions, slots, size.length), wanted.flatten()


class RowSliceAttention:
    """Implements `Attention` for one row slice, which reads its row without copying it."""

    def __init__(self, cache: KvCache, row_slice: RowSlice) -> None:
        self._cache = cache
        self._slot = row_slice.slot
        self._start = row_slice.start
        self._end = row_slice.end
        self._on_cpu = cache.device.type == "cpu"
        self._masks: dict[int | None, Tensor | None] = {}

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        keys, values = self._cache.keys[layer][self._slot], self._cache.values[layer][self._slot]
        keys[:, self._start : self._end] = key.transpose(0, 1)
        values[:, self._start : self._end] = value.transpose(0, 1)
        if window is not None and window >= self._end:
            window = None
        if window not in self._masks:
            self._masks[window] = self._mask(window, query)
        first = 0 if window is None else max(0, self._start + 1 - window)
        attend = attend_on_cpu if self._on_cpu else attend_fused
        row = slice(first, self._end)
        return attend(query, keys[:, row], values[:, row], scale, self._masks[window])

    def _mask(self, window: int | None, query: Tensor) -> Tensor | None:
        """Return what is added to the scores of the last keys, [T, their number]; None if all are seen."""
        if self._end - self._start == 1:
            return None
        first = self._start if self._on_cpu else 0
        if window is not None:
            first = max(0, self._start + 1 - window)
        at = torch.arange(first, self._end, device=query.device)
        dtype = torch.float32 if self._on_cpu else query.dtype
        return padded_batch.additive_mask(at[self._start - first :, None], at, window, dtype)


def attend_fused(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Attend: [T, H, D], keys and values [h, L, D] with h dividing H, mask [T, L] or None -> [T, H, D].

    torch's kernels keep the scores in float32 for inputs of any type.
    """
    groups = query.shape[1] // len(keys)
    out = functional.scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        keys.repeat_interleave(groups, 0)[None] if groups > 1 else keys[None],
        values.repeat_interleave(groups, 0)[None] if groups > 1 else values[None],
        attn_mask=mask,
        scale=scale,
    )
    return out[0].transpose(0, 1)


def attend_on_cpu(query: Tensor, keys: Tensor, values: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Compute the same as `attend_fused`, faster on a CPU. `mask` is float32 and covers the last keys only.

    torch's fused kernel multiplies with MKL, which is slow on AMD's processors. On one Zen 5 core, with 16
    heads and 1,024 keys in bfloat16, the fused kernel takes 14 ms for 256 tokens and 1.8 ms for one; this
    function takes 6.6 ms and 0.4 ms.
    """
    tokens, heads, width = query.shape
    groups = heads // len(keys)
    # Heads that share keys become rows of one product: [h, groups * T, D].
    rows = (query.float() * scale).view(tokens, len(keys), groups, width).permute(1, 2, 0, 3)
    rows = rows.reshape(len(keys), groups * tokens, width)
    # For one token, oneDNN's rearrangement of the keys takes longer than it saves.
    product_dtype = torch.bfloat16 if keys.dtype == torch.bfloat16 and tokens > 1 else torch.float32
    at_once = max(1, SCORES_AT_ONCE // (rows.shape[1] * keys.shape[1]))
    outputs: list[Tensor] = []
    for some_rows, some_keys, some_values in zip(
        rows.split(at_once), keys.split(at_once), values.split(at_once), strict=True
    ):
        with products_in(product_dtype):
            scores = torch.bmm(some_rows, some_keys.float().transpose(1, 2))
        if mask is not None:
            scores.view(-1, tokens, keys.shape[1])[..., -mask.shape[1] :].add_(mask)
        outputs.append(torch.bmm(scores.softmax(-1).to(product_dtype), some_values.to(product_dtype)))
    out = (torch.cat(outputs) if len(outputs) > 1 else outputs[0]).view(len(keys), groups, tokens, width)
    return out.permute(2, 0, 1, 3).reshape(query.shape).to(query.dtype)


@contextmanager
def products_in(dtype: torch.dtype) -> Generator[None]:
    """With bfloat16, make oneDNN round float32 matrices to bfloat16, multiply, and sum up in float32."""
    settings = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue] - made at run time
    before = settings.fp32_precision
    if dtype == torch.bfloat16:
        settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def row_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    sliding_window: int | None = None,
    *,
    row_attention: Attention,
    **_: Any,
) -> tuple[Tensor, None]:
    """Implement transformers' attention interface: float [1, H, T, D] -> [1, T, H, D]."""
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    layer: Any = module.layer_idx
    return row_attention(layer, query, key, value, scaling, sliding_window)[None], None


AttentionInterface.register(ROW_ATTENTION, row_attention_forward)
