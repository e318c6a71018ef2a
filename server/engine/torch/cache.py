"""The torch engine's KV cache: a fixed number of contiguous rows, which attention.py reads and writes.

Rows are as step.py says. Their number is settled once, at the start: no request can run out of memory.
"""

from dataclasses import dataclass

import structlog
import torch

from acepilot.errors import ModelBroken
from server.engine.base import CPU_KV_CACHE_GB, EngineOptions
from server.engine.torch.linear import WeightFormat

LONGEST_ROW_TOKENS = 8192
"""Rows are contiguous, so a model's context of 32,768 would leave room for a handful of them; the editors'
prompts have 1,500 tokens, and OpenVINO's tokenizer keeps as many as this."""

ROWS_A_STREAM = 2
"""One to write, one that keeps the prompt before it: completions of two files alternate."""

CUDA_RESERVE_BYTES = 1 << 30
"""Left free on a card, for what a step computes in between."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class CacheShape:
    """What a model asks of its cache."""

    layers: int
    heads: int
    head_dim: int
    context_tokens: int

    def row_tokens(self) -> int:
        return min(self.context_tokens, LONGEST_ROW_TOKENS)

    def row_bytes(self, dtype: torch.dtype) -> int:
        return 2 * self.layers * self.heads * self.head_dim * self.row_tokens() * dtype.itemsize


class KvCache:
    """`keys[layer]` and `values[layer]`: [slots, heads, slot_tokens, head_dim]."""

    def __init__(self, shape: CacheShape, slots: int, numbers: WeightFormat) -> None:
        self.slots = slots
        self.device = numbers.device
        self.slot_tokens = shape.row_tokens()
        size = (slots, shape.heads, self.slot_tokens, shape.head_dim)
        # zeros, not empty: what a masked position holds is multiplied by 0, and must not be NaN
        self.keys = [
            torch.zeros(size, dtype=numbers.dtype, device=numbers.device) for _ in range(shape.layers)
        ]
        self.values = [
            torch.zeros(size, dtype=numbers.dtype, device=numbers.device) for _ in range(shape.layers)
        ]

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        for rows in (*self.keys, *self.values):
            rows[target, :, :tokens] = rows[source, :, :tokens]


def affordable_slots(shape: CacheShape, numbers: WeightFormat, options: EngineOptions) -> int:
    """Rows that `kv_cache_gb` and, on a card, its free memory hold. Raises ModelBroken when not even one."""
    on_card = numbers.device.type == "cuda"
    allowed_gb = options.kv_cache_gb or (None if on_card else CPU_KV_CACHE_GB)
    row = shape.row_bytes(numbers.dtype)
    budget = row * ROWS_A_STREAM * options.max_streams
    if allowed_gb:
        budget = min(budget, allowed_gb << 30)
    if row > budget:
        needed = -(-row // (1 << 30))
        raise ModelBroken(
            f"The KV cache of one sequence of this model takes {row / 2**30:.1f} GB, and "
            f"kv_cache_gb={allowed_gb} allows less: set it to {needed} or more."
        )
    if on_card:
        free = torch.cuda.mem_get_info(numbers.device)[0] - CUDA_RESERVE_BYTES
        if row > free:
            raise ModelBroken(
                f"The card has {max(free, 0) / 2**30:.1f} GB left beside the weights, and the KV cache of "
                f"one sequence takes {row / 2**30:.1f} GB: use dtype=int8, a smaller model or a larger card."
            )
        budget = min(budget, free)
    slots = budget // row
    if slots < options.max_streams:
        _log.warning(
            "kv_cache_is_small",
            sequences=slots,
            max_streams=options.max_streams,
            effect="more than these wait for each other",
            kv_cache_gb_for_all=-(-row * options.max_streams // (1 << 30)),
        )
    return slots
