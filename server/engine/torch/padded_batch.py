"""A step of short row slices as a padded batch, whose work depends only on its size: so CUDA can replay it.

The slices are padded to one length, and their number to one of a few sizes, with copies of the tokens that
are there: a copy computes the same as its original and writes it to the same place. graphs.py replays such
steps.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from server.engine.scheduler.step import RowSlice
from server.engine.torch.cache import KvCache

T = TypeVar("T")

TOKEN_SIZES = (1, 4, 16)
"""Padded lengths of a row slice, in tokens: one token, or one and its drafts."""

MOST_TOKENS = 256
"""Tokens in a padded batch at most. In a larger step the computation takes longer than a replay saves."""

SHORTEST_LENGTH = 256
"""Tokens of each row that a padded batch reads at least: fewer sizes of graphs, at hardly any cost."""


@dataclass(frozen=True)
class PaddedBatchSize:
    """A batch of `batch` row slices of `tokens` tokens each, whose rows are read up to `length`."""

    batch: int
    tokens: int
    length: int


def size_for(row_slices: Sequence[RowSlice], slot_tokens: int) -> PaddedBatchSize | None:
    """Return the smallest size that holds `row_slices`, or None if a slice or the batch is too long."""
    longest = max(len(row_slice.token_ids) for row_slice in row_slices)
    tokens = next((size for size in TOKEN_SIZES if size >= longest), None)
    batch = _next_power_of_two(len(row_slices))
    if tokens is None or batch * tokens > MOST_TOKENS:
        return None
    end = max(row_slice.end for row_slice in row_slices)
    return PaddedBatchSize(batch, tokens, min(max(_next_power_of_two(end), SHORTEST_LENGTH), slot_tokens))


def fill(row_slices: Sequence[RowSlice], size: PaddedBatchSize) -> Tensor:
    """Return int64 [3, batch, tokens]: token ids, positions, slots."""
    planes = [
        [filled(row_slice.token_ids, size.tokens) for row_slice in row_slices],
        [filled(row_slice.positions, size.tokens) for row_slice in row_slices],
        [[row_slice.slot] * size.tokens for row_slice in row_slices],
    ]
    return torch.tensor([filled(rows, size.batch) for rows in planes])


def filled(items: Sequence[T], count: int) -> list[T]:
    """Return `count` items: `items`, then copies of the last one."""
    return [*items, *[items[-1]] * (count - len(items))]


def additive_mask(at: Tensor, keys: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    """Return 0 where a key is seen and -inf elsewhere: positions int64 [..., T, 1] and [L] -> [..., T, L]."""
    hidden = keys > at
    if window is not None:
        hidden |= keys <= at - window
    return torch.zeros(hidden.shape, dtype=dtype, device=at.device).masked_fill_(hidden, float("-inf"))


class PaddedBatchAttention:
    """Implements `Attention` in attention.py for a padded batch, without reading a number from the GPU."""

    def __init__(self, cache: KvCache, positions: Tensor, slots: Tensor, length: int) -> None:
        """Take `positions` and `slots` as `fill` makes them, int64 [batch, tokens] each."""
        self._cache = cache
        self._positions = positions
        self._slots = slots
        self._length = length
        self._masks: dict[int | None, Tensor] = {}

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        """Compute `Attention` with T = batch * tokens; rows are copied to be read.

        Query heads that share keys are treated as further queries: with a mask, the fused kernels support no
        other form.
        """
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys[self._slots.flatten(), :, self._positions.flatten()] = key
        values[self._slots.flatten(), :, self._positions.flatten()] = value
        batch, tokens = self._slots.shape
        shared, width = keys.shape[1], keys.shape[3]
        groups = query.shape[1] // shared
        grouped = query.view(batch, tokens, shared, groups, width).permute(0, 2, 3, 1, 4)
        out = functional.scaled_dot_product_attention(
            grouped.reshape(batch, shared, groups * tokens, width),
            keys[:, :, : self._length].index_select(0, self._slots[:, 0]),
            values[:, :, : self._length].index_select(0, self._slots[:, 0]),
            attn_mask=self._mask(groups, query.dtype, window),
            scale=scale,
        )
        return out.view(grouped.shape).permute(0, 3, 1, 2, 4).reshape(query.shape)

    def _mask(self, groups: int, dtype: torch.dtype, window: int | None) -> Tensor:
        """Return what is added to the scores, [batch, 1, groups * tokens, length]. All layers use one."""
        if window not in self._masks:
            keys = torch.arange(self._length, device=self._positions.device)
            mask = additive_mask(self._positions[:, None, :, None], keys, window, dtype)
            self._masks[window] = mask.repeat(1, 1, groups, 1)
        return self._masks[window]


def _next_power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
