"""The torch engine's runner: a model, its KV cache, and one step of both.

`load_model` reads the files (weights.py), and makes the layers (decoder.py) and the rows (cache.py).
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.scheduler.messages import Opened
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.step import RowSlice, wanted_tokens
from server.engine.scheduler.worker import ServedModel
from server.engine.tokenizer_limits import check_tokenizer, probe_tokenizer
from server.engine.torch.attention import StepAttention
from server.engine.torch.cache import KvCache, affordable_slots
from server.engine.torch.decoder import Decoder, cache_shape, open_decoder
from server.engine.torch.graphs import StepGraphs
from server.engine.torch.linear import WeightFormat
from server.engine.torch.weights import best_format, read_files, special_tokens, this_machine

CPU_LIMITS = StepLimits(tokens=256, drafts=16)
CUDA_LIMITS = StepLimits(tokens=512, drafts=128)
"""A long prompt is read in several steps; between them other sequences get their tokens, and cancelled ones
leave. Up to these numbers of drafts a step takes little longer than with one token."""


class TorchRunner:
    """Implements `Runner` in step.py. `graphs` replay the steps that they can."""

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
    def step(self, row_slices: Sequence[RowSlice]) -> NDArray[np.float32]:
        logits = self._graphs.step(row_slices) if self._graphs else None
        if logits is None:
            logits = self._computed(row_slices)
        return logits.float().cpu().numpy()

    def _computed(self, row_slices: Sequence[RowSlice]) -> Tensor:
        device = self._cache.device
        token_ids = [token for row_slice in row_slices for token in row_slice.token_ids]
        positions = [at for row_slice in row_slices for at in row_slice.positions]
        hidden = self._decoder.hidden(
            torch.tensor(token_ids, device=device),
            torch.tensor(positions, device=device),
            StepAttention(self._cache, row_slices, short_together=device.type == "cuda"),
        )
        wanted = wanted_tokens(row_slices)
        if not wanted:
            return torch.empty(0, self.vocabulary)
        return self._decoder.logits(hidden[torch.tensor(wanted, device=device)])

    @torch.inference_mode()
    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        for rows in (*self._cache.keys, *self._cache.values):
            rows[target, :, :tokens] = rows[source, :, :tokens]


def load_model(model: ModelFolder, options: EngineOptions) -> ServedModel:
    """Load a model, which takes seconds to minutes. Raises ModelBroken."""
    if options.threads:
        torch.set_num_threads(options.threads)
    weight_format = best_format(options.dtype, this_machine())
    files = read_files(model)
    tokenizer = files.tokenizer.backend_tokenizer
    check_tokenizer(tokenizer.to_str(), model.path)
    probe_tokenizer(tokenizer.encode, model.path)  # here, where it can only end this process
    decoder = open_decoder(files, weight_format)
    runner = make_runner(decoder, files.config, weight_format, options)
    specials = special_tokens(tokenizer)
    return ServedModel(
        runner=runner,
        decode=tokenizer.decode,
        ends=frozenset({*specials, files.tokenizer.eos_token_id}),
        limits=CUDA_LIMITS if weight_format.device.type == "cuda" else CPU_LIMITS,
        opened=Opened(tokenizer.to_str(), runner.slot_tokens, frozenset(specials.values())),
    )


def make_runner(
    decoder: Decoder, config: Any, weight_format: WeightFormat, options: EngineOptions
) -> TorchRunner:
    """Make the cache for a decoder; `config` is transformers'. Raises ModelBroken if it does not fit."""
    # On Hopper, cuDNN's attention would build a plan for each new length of a prompt, which takes 0.1 s.
    torch.backends.cuda.enable_cudnn_sdp(False)
    shape = cache_shape(config)
    device, dtype = weight_format.device, weight_format.dtype
    on_gpu = device.type == "cuda"
    free_gpu_bytes = torch.cuda.mem_get_info(device)[0] if on_gpu else None
    cache = KvCache(shape, affordable_slots(shape, dtype, options, free_gpu_bytes), weight_format)
    graphs = StepGraphs(decoder, cache) if on_gpu else None
    return TorchRunner(decoder, cache, config.vocab_size, graphs)
