"""Chooses tokens from a step's logits: the most probable one, or one drawn by probability.

Each draw brings its own random number, so a sequence's tokens do not depend on what runs beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GREEDY_BELOW = 0.01
"""Temperature below which decoding is greedy: dividing logits by so small a number overflows float32."""

SMALLEST_TOP_P = 0.001
"""With `top_p` 0 no token would be left to draw from."""

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Draw:
    """A draw among the most probable tokens that together have `top_p`, by a random `number` from 0 to 1."""

    temperature: float
    top_p: float
    number: float


def choose(logits: Logits, draws: Sequence[Draw | None]) -> list[int]:
    """Choose a token per row: float32 [N, V] and N draws (None: take the most probable) -> N token ids.

    Raises FloatingPointError for logits that are infinite or NaN.
    """
    chosen: list[int] = logits.argmax(axis=-1).tolist()  # a NaN counts as the largest
    if not np.isfinite(logits[np.arange(len(chosen)), chosen]).all():
        raise FloatingPointError(
            "the model's numbers overflow its dtype. Start the server with --dtype float32."
        )
    for row, draw in enumerate(draws):
        if draw is not None:
            chosen[row] = _drawn(logits[row], draw)
    return chosen


def log_probs(logits: Logits, token_ids: Sequence[int]) -> list[float]:
    """Return each token's natural-log probability: float32 [N, V] and N token ids -> N numbers."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    totals = np.log(np.exp(shifted).sum(axis=-1, dtype=np.float64))
    chosen = shifted[np.arange(len(token_ids)), np.asarray(token_ids)]
    return (chosen - totals).tolist()


def _drawn(logits: Logits, draw: Draw) -> int:
    """float32 [V] -> a token id."""
    weights: Logits = np.exp((logits - logits.max()) / np.float32(draw.temperature))
    top_p = max(draw.top_p, SMALLEST_TOP_P)
    token_ids = _nucleus(weights, top_p) if top_p < 1 else np.arange(len(weights))
    sums: NDArray[np.float64] = np.cumsum(weights[token_ids], dtype=np.float64)
    at = int(np.searchsorted(sums, draw.number * float(sums[-1]), side="right"))
    return token_ids[min(at, len(sums) - 1)].item()


def _nucleus(weights: Logits, top_p: float) -> NDArray[np.int64]:
    """Return the fewest tokens that together have `top_p` of the weight: float32 [V] -> int64 [K]."""
    total = float(weights.sum(dtype=np.float64))
    # The tokens filtered out have less than 1 - top_p together, and need not be sorted.
    likely = np.flatnonzero(weights * len(weights) > (1 - top_p) * total)
    ordered: NDArray[np.int64] = likely[np.argsort(-weights[likely], kind="stable")]
    sums: NDArray[np.float64] = np.cumsum(weights[ordered], dtype=np.float64)
    return ordered[: int(np.searchsorted(sums, top_p * total)) + 1]
