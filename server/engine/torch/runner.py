"""The torch engine's runner: a model, its KV cache, and one step of both; its worker drives it.

`open_runner` is the way in: files (weights.py), layers (decoder.py), rows (cache.py).
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.scheduler.step import RowSlice
from server.engine.torch.attention import StepAttention
from server.engine.torch.cache import KvCache, affordable_slots
from server.engine.torch.decoder import Decoder, cache_shape, open_decoder
from server.engine.torch.graphs import StepGraphs
from server.engine.torch.linear import WeightFormat
from server.engine.torch.weights import best_numbers, read_files


class TorchRunner:
    """See `Runner` in step.py. `graphs` replay what they can of its steps."""

    def __init__(
        self, decoder: Decoder, cache: KvCache, vocabulary: int, graphs: StepGraphs | None = None
    ) -> None:
        self._decoder = decoder
        self._cache = cache
        self._graphs = graphs
        self.vocabulary = vocabulary
        self.slots = cache.slots
        self.slot_tokens = cache.slot_tokens

    @torch.inference_mode()
    def step(self, chunks: Sequence[RowSlice]) -> NDArray[np.float32]:
        logits = self._graphs.step(chunks) if self._graphs else None
        if logits is None:
            logits = self._computed(chunks)
        return logits.float().cpu().numpy()

    def _computed(self, chunks: Sequence[RowSlice]) -> Tensor:
        device = self._cache.device
        token_ids = [token for chunk in chunks for token in chunk.token_ids]
        positions = [at for chunk in chunks for at in range(chunk.start, chunk.start + len(chunk.token_ids))]
        ends = accumulate(len(chunk.token_ids) for chunk in chunks)
        wanted = [
            at for end, chunk in zip(ends, chunks, strict=True) for at in range(end - chunk.logits, end)
        ]
        hidden = self._decoder.hidden(
            torch.tensor(token_ids, device=device),
            torch.tensor(positions, device=device),
            StepAttention(self._cache, chunks, short_together=device.type == "cuda"),
        )
        if not wanted:
            return torch.empty(0, self.vocabulary)
        return self._decoder.logits(hidden[torch.tensor(wanted, device=device)])

    @torch.inference_mode()
    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        self._cache.copy_prefix(source, target, tokens)


@dataclass(frozen=True)
class OpenedModel:
    """`tokenizer` is transformers'."""

    runner: TorchRunner
    tokenizer: Any


def open_runner(model: ModelFolder, options: EngineOptions) -> OpenedModel:
    """Takes seconds to minutes. Raises ModelBroken, with what to do."""
    if options.threads:
        torch.set_num_threads(options.threads)
    numbers = best_numbers(options.dtype)
    files = read_files(model)
    decoder = open_decoder(files, numbers)
    return OpenedModel(make_runner(decoder, files.config, numbers, options), files.tokenizer)


def make_runner(decoder: Decoder, config: Any, numbers: WeightFormat, options: EngineOptions) -> TorchRunner:
    """`config` is transformers' of the model. Raises ModelBroken when its cache does not fit."""
    # on Hopper it would stop to build a plan for every length of a prompt that it has not met
    torch.backends.cuda.enable_cudnn_sdp(False)
    shape = cache_shape(config)
    cache = KvCache(shape, affordable_slots(shape, numbers, options), numbers)
    graphs = StepGraphs(decoder, cache) if numbers.device.type == "cuda" else None
    return TorchRunner(decoder, cache, config.vocab_size, graphs)
