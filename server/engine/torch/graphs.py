"""Steps of short chunks on CUDA, replayed as graphs: one launch in place of a thousand; for runner.py.

A graph is captured when its size is first met, and kept. All graphs share one pool of memory: only one runs
at a time, and what it leaves is read before the next.
"""

# torch is typed in part: what it gives is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
import torch
from torch import Tensor

from server.engine.scheduler.step import RowSlice
from server.engine.torch.cache import KvCache
from server.engine.torch.decoder import Decoder
from server.engine.torch.padded_batch import (
    PaddedBatchAttention,
    PaddedBatchSize,
    fill,
    rectangle_size,
    wanted_tokens,
)

_log = structlog.get_logger()


@dataclass(frozen=True)
class _Captured:
    """`inputs` [3, batch, tokens] is what the graph reads, `logits` [batch * tokens, V] what it writes."""

    graph: Any
    inputs: Tensor
    logits: Tensor


class StepGraphs:
    def __init__(self, decoder: Decoder, cache: KvCache) -> None:
        self._decoder = decoder
        self._cache = cache
        self._captured: dict[PaddedBatchSize, _Captured] = {}
        self._pool: Any = None
        self._works = True

    def step(self, chunks: Sequence[RowSlice]) -> Tensor | None:
        """[wanted, V]; None when this step cannot be replayed. A failed capture ends all replaying."""
        size = rectangle_size(chunks, self._cache.slot_tokens)
        if size is None or not self._works:
            return None
        if size not in self._captured:
            try:
                self._captured[size] = self._capture(chunks, size)
            except RuntimeError as error:
                self._works = False
                _log.warning("cuda_graphs_failed", why=str(error), effect="each token takes longer")
                return None
        captured = self._captured[size]
        captured.inputs.copy_(fill(chunks, size))
        captured.graph.replay()
        return captured.logits[wanted_tokens(chunks, size)]

    def _capture(self, chunks: Sequence[RowSlice], size: PaddedBatchSize) -> _Captured:
        inputs = fill(chunks, size).to(self._cache.device)
        # libraries set themselves up in a first pass, which a capture must not see
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            rectangle_logits(self._decoder, self._cache, inputs, size)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            logits = rectangle_logits(self._decoder, self._cache, inputs, size)
        self._pool = graph.pool()
        return _Captured(graph, inputs, logits)


def rectangle_logits(decoder: Decoder, cache: KvCache, inputs: Tensor, size: PaddedBatchSize) -> Tensor:
    """int64 [3, batch, tokens] -> [batch * tokens, V]; what a graph holds."""
    ids, positions, slots = inputs
    attention = PaddedBatchAttention(cache, positions, slots, size.length)
    return decoder.logits(decoder.hidden(ids.flatten(), positions.flatten(), attention))
