"""The torch engine's KV cache: a fixed number of contiguous rows, which attention.py reads and writes.

step.py describes the rows. All of them are allocated at the start, so no request can run out of memory.
"""

from dataclasses import dataclass

import structlog
import torch

from acepilot.errors import ModelBroken
from server.engine.base import CPU_KV_CACHE_GB, EngineOptions
from server.engine.torch.linear import WeightFormat

LONGEST_ROW_TOKENS = 8192
"""Tokens in a row at most. Rows are contiguous, so with a model's context of 32,768 only a handful of them
would fit. Editors' prompts have 1,500 tokens, and OpenVINO's tokenizer has the same limit."""

ROWS_PER_STREAM = 2
"""One row to write, and one that keeps the previous prompt: a user may alternate between two files."""

CUDA_RESERVE_BYTES = 1 << 30
"""Bytes left free on a GPU for the intermediate results of a step."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class CacheShape:
    """What a model needs of its cache."""

    layers: int
    heads: int
    head_dim: int
    context_tokens: int

    def row_tokens(self) -> int:
        return min(self.context_tokens, LONGEST_ROW_TOKENS)

    def row_bytes(self, dtype: torch.dtype) -> int:
        return 2 * self.layers * self.heads * self.head_dim * self.row_tokens() * dtype.itemsize


class KvCache:
    """The tensors `keys[layer]` and `values[layer]`, each [slots, heads, slot_tokens, head_dim]."""

    def __init__(self, shape: CacheShape, slots: int, weight_format: WeightFormat) -> None:
        self.slots = slots
        self.device = weight_format.device
        self.slot_tokens = shape.row_tokens()
        size = (slots, shape.heads, self.slot_tokens, shape.head_dim)
        # Not `empty`: the content of masked positions is multiplied by 0, and must not be NaN.
        self.keys, self.values = (
            [torch.zeros(size, dtype=weight_format.dtype, device=self.device) for _ in range(shape.layers)]
            for _ in range(2)
        )


def affordable_slots(
    shape: CacheShape, dtype: torch.dtype, options: EngineOptions, free_gpu_bytes: int | None
) -> int:
    """Return how many rows fit `kv_cache_gb` and free GPU memory (None: CPU). Raises ModelBroken for none."""
    allowed_gb = options.kv_cache_gb or (CPU_KV_CACHE_GB if free_gpu_bytes is None else None)
    row = shape.row_bytes(dtype)
    budget = row * ROWS_PER_STREAM * options.max_streams
    if allowed_gb:
        budget = min(budget, allowed_gb << 30)
    if row > budget:
        needed = -(-row // (1 << 30))
        raise ModelBroken(
            f"The KV cache of one sequence of this model takes {row / 2**30:.1f} GB, and "
            f"kv_cache_gb={allowed_gb} allows less: set it to {needed} or more."
        )
    if free_gpu_bytes is not None:
        free = free_gpu_bytes - CUDA_RESERVE_BYTES
        if row > free:
            raise ModelBroken(
                f"The GPU has {max(free, 0) / 2**30:.1f} GB left beside the weights, and the KV cache of one "
                f"sequence takes {row / 2**30:.1f} GB: use dtype=int8, a smaller model or a larger GPU."
            )
        budget = min(budget, free)
    slots = budget // row
    if slots < options.max_streams:
        _log.warning(
            "kv_cache_is_small",
            sequences=slots,
            max_streams=options.max_streams,
            effect="more sequences than this wait for each other",
            kv_cache_gb_for_all=-(-row * options.max_streams // (1 << 30)),
        )
    return slots
