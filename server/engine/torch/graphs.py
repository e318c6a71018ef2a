"""Replays steps of short row slices on CUDA as graphs: one kernel launch in place of a thousand.

A graph is captured when its size first occurs, and kept. All graphs share one pool of memory, because only
one runs at a time and its result is read before the next one runs.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
import torch
from torch import Tensor

from server.engine.scheduler.step import RowSlice, wanted_tokens
from server.engine.torch.cache import KvCache
from server.engine.torch.decoder import Decoder
from server.engine.torch.padded_batch import PaddedBatchAttention, PaddedBatchSize, fill, size_for

_log = structlog.get_logger()


@dataclass(frozen=True)
class Captured:
    """A graph that reads `inputs` [3, batch, tokens] and writes `logits` [batch * tokens, V]."""

    graph: Any
    inputs: Tensor
    logits: Tensor


def capture(compute: Callable[[Tensor], Tensor], inputs: Tensor, pool: Any) -> Captured:
    """Capture `compute(inputs)` as a graph whose memory comes from `pool`."""
    # Libraries initialise themselves in a first pass, which must not be captured.
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        compute(inputs)
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        logits = compute(inputs)
    return Captured(graph, inputs, logits)


class StepGraphs:
    """The graphs of one decoder and cache, by size. `capture` makes one."""

    def __init__(self, decoder: Decoder, cache: KvCache, capture: Callable[..., Captured] = capture) -> None:
        self._decoder = decoder
        self._cache = cache
        self._capture = capture
        self._captured: dict[PaddedBatchSize, Captured] = {}
        self._pool: Any = None
        self._works = True

    def step(self, row_slices: Sequence[RowSlice]) -> Tensor | None:
        """Return logits [wanted, V], or None if this step cannot be replayed, or a capture has failed."""
        size = size_for(row_slices, self._cache.slot_tokens)
        if size is None or not self._works:
            return None
        inputs = fill(row_slices, size)
        if size not in self._captured:
            compute = partial(padded_logits, self._decoder, self._cache, size)
            try:
                self._captured[size] = self._capture(compute, inputs.to(self._cache.device), self._pool)
            except RuntimeError as error:
                self._works = False
                _log.warning("cuda_graphs_failed", why=str(error), effect="each token takes longer")
                return None
            self._pool = self._captured[size].graph.pool()
        captured = self._captured[size]
        captured.inputs.copy_(inputs)
        captured.graph.replay()
        return captured.logits[wanted_tokens(row_slices, size.tokens)]


def padded_logits(decoder: Decoder, cache: KvCache, size: PaddedBatchSize, inputs: Tensor) -> Tensor:
    """Compute what a graph holds: int64 [3, batch, tokens] -> [batch * tokens, V]."""
    ids, positions, slots = inputs
    attention = PaddedBatchAttention(cache, positions, slots, size.length)
    return decoder.logits(decoder.hidden(ids.flatten(), positions.flatten(), attention))
