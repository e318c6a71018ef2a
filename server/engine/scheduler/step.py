"""One step of a local engine: what the scheduler asks for and a runner computes.

The KV cache is a fixed number of rows ("slots"), each contiguous and `slot_tokens` long. So attention on a
CPU reads a row without gathering blocks, and a CUDA graph finds each row at a fixed address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RowSlice:
    """A sequence's part of a step: compute `token_ids` at the positions from `start` on in row `slot`.

    The positions before `start` are in the cache already. The step returns logits after the last `logits` of
    the tokens: 0 while a prompt is being read, 1 to choose the next token, more to verify drafts or to score.
    """

    slot: int
    start: int
    token_ids: Sequence[int]
    logits: int

    @property
    def end(self) -> int:
        return self.start + len(self.token_ids)

    @property
    def positions(self) -> range:
        return range(self.start, self.end)


class Runner(Protocol):
    """A model with its KV cache. `vocabulary` is the number of logits per token."""

    slots: int
    slot_tokens: int
    vocabulary: int

    def step(self, row_slices: Sequence[RowSlice]) -> NDArray[np.float32]:
        """Compute all slices in one pass, each in another slot.

        Returns float32 [sum of `logits`, vocabulary], in the order of the slices.
        """
        ...

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        """Copy the keys and values of the first `tokens` positions from row `source` to row `target`."""
        ...


def wanted_tokens(row_slices: Sequence[RowSlice], padded_length: int | None = None) -> list[int]:
    """Return which tokens of a step get logits, as indices into its tokens, slice after slice.

    With `padded_length`, each slice is padded at its end to this number of tokens.
    """
    wanted: list[int] = []
    start = 0
    for row_slice in row_slices:
        end = start + len(row_slice.token_ids)
        wanted += range(end - row_slice.logits, end)
        start = end if padded_length is None else start + padded_length
    return wanted
