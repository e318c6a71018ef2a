"""One step of a local engine, as the scheduler asks for it and a runner computes it.

The KV cache is a fixed number of rows ("slots"), each `slot_tokens` long and contiguous: attention reads a
row as it lies, on CPU without any gathering, and a CUDA graph finds it where it was. A row whose sequence has
ended keeps its keys and values until it is needed, so that the next prompt with the same beginning goes on
from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RowSlice:
    """A sequence's part of a step: `token_ids` go to the positions from `start` on of row `slot`.

    Positions before `start` are in the cache already. Logits are wanted after the last `logits` of them: 0
    while a prompt is still being read, 1 to sample from, more to verify drafted tokens or to score.
    """

    slot: int
    start: int
    token_ids: Sequence[int]
    logits: int


class Runner(Protocol):
    """A model with its KV cache. `vocabulary` is the number of logits of a token."""

    slots: int
    slot_tokens: int
    vocabulary: int

    def step(self, chunks: Sequence[RowSlice]) -> NDArray[np.float32]:
        """All chunks in one pass, each of another slot -> float32 [sum of `logits`, vocabulary], in order."""
        ...

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        """Keys and values of the first `tokens` positions, from row to row."""
        ...
