"""A step of short chunks as a rectangle: the same work whatever the chunks are, so that CUDA can replay it.

Chunks are filled up to one length and their number to one of a few sizes, with copies of what is there: a
copy computes what its original computes, and writes it to the same place. graphs.py replays such steps.
"""

# torch is typed in part: what it gives is known by the tests
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
"""Tokens of a chunk: one, or one and its drafts."""

MOST_TOKENS = 256
"""Of a whole rectangle: from there on the arithmetic takes longer than what a replay saves."""

SHORTEST_LENGTH = 256


@dataclass(frozen=True)
class PaddedBatchSize:
    """`batch` chunks of `tokens` each, whose rows are read up to `length`."""

    batch: int
    tokens: int
    length: int


def rectangle_size(chunks: Sequence[RowSlice], slot_tokens: int) -> PaddedBatchSize | None:
    """The smallest that holds `chunks`, of few sizes; None where one of them is a piece of a prompt."""
    longest = max(len(chunk.token_ids) for chunk in chunks)
    tokens = next((size for size in TOKEN_SIZES if size >= longest), None)
    batch = _power_of_two(len(chunks))
    if tokens is None or batch * tokens > MOST_TOKENS:
        return None
    end = max(chunk.start + len(chunk.token_ids) for chunk in chunks)
    return PaddedBatchSize(batch, tokens, min(max(_power_of_two(end), SHORTEST_LENGTH), slot_tokens))


def fill(chunks: Sequence[RowSlice], size: PaddedBatchSize) -> Tensor:
    """int64 [3, batch, tokens]: token ids, positions, slots."""
    positions = [range(chunk.start, chunk.start + len(chunk.token_ids)) for chunk in chunks]
    planes = [
        [filled(chunk.token_ids, size.tokens) for chunk in chunks],
        [filled(places, size.tokens) for places in positions],
        [[chunk.slot] * size.tokens for chunk in chunks],
    ]
    return torch.tensor([filled(rows, size.batch) for rows in planes])


def filled(items: Sequence[T], count: int) -> list[T]:
    """`items` and as many copies of the last as are missing."""
    return [*items, *[items[-1]] * (count - len(items))]


def wanted_tokens(chunks: Sequence[RowSlice], size: PaddedBatchSize) -> list[int]:
    """Where the tokens whose logits are wanted lie in the flattened rectangle."""
    ends = [index * size.tokens + len(chunk.token_ids) for index, chunk in enumerate(chunks)]
    return [at for end, chunk in zip(ends, chunks, strict=True) for at in range(end - chunk.logits, end)]


def additive_mask(at: Tensor, keys: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    """int64 [..., T, 1] and [L], positions -> [..., T, L], 0 where a key is seen and -inf elsewhere."""
    hidden = keys > at
    if window is not None:
        hidden |= keys <= at - window
    return torch.zeros(hidden.shape, dtype=dtype, device=at.device).masked_fill_(hidden, float("-inf"))


class PaddedBatchAttention:
    """See `Attention` in attention.py; of a whole rectangle, without asking the card for a number."""

    def __init__(self, cache: KvCache, positions: Tensor, slots: Tensor, length: int) -> None:
        """int64 [batch, tokens] each, as `fill` gives them."""
        self._cache = cache
        self._positions = positions
        self._slots = slots
        self._length = length
        self._masks: dict[int | None, Tensor] = {}

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        """See `Attention`, with T = batch * tokens. Rows are copied to be read.

        Query heads that share keys count as further queries: with masks, the fused kernels know no other way.
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
        """float [batch, 1, groups * tokens, length], added to the scores; made at the first layer."""
        if window not in self._masks:
            keys = torch.arange(self._length, device=self._positions.device)
            mask = additive_mask(self._positions[:, None, :, None], keys, window, dtype)
            self._masks[window] = mask.repeat(1, 1, groups, 1)
        return self._masks[window]


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
