"""Chooses tokens by a step's logits: the likeliest one, or one drawn by its probability; for worker.py.

A sequence brings its own random numbers, one a token: what runs beside it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Draw:
    """`number`, from 0 to 1, decides between the tokens that together have `top_p` of the probability."""

    temperature: float
    top_p: float
    number: float


def choose(logits: Logits, draws: Sequence[Draw | None]) -> list[int]:
    """float32 [N, V], one draw a row (None: the likeliest) -> N token ids.

    Raises FloatingPointError for logits that are no numbers.
    """
    chosen: list[int] = logits.argmax(axis=-1).tolist()  # of a NaN, where there is one
    if not np.isfinite(logits[np.arange(len(chosen)), chosen]).all():
        raise FloatingPointError(
            "the model overflows its number form. Start the server with --dtype float32."
        )
    for row, draw in enumerate(draws):
        if draw is not None:
            chosen[row] = _drawn(logits[row], draw)
    return chosen


def log_probs(logits: Logits, token_ids: Sequence[int]) -> list[float]:
    """float32 [N, V], N token ids -> the natural-log probability of each."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    totals = np.log(np.exp(shifted).sum(axis=-1, dtype=np.float64))
    chosen = shifted[np.arange(len(token_ids)), np.asarray(token_ids)]
    return (chosen - totals).tolist()


def _drawn(logits: Logits, draw: Draw) -> int:
    """float32 [V] -> a token id."""
    weights: Logits = np.exp((logits - logits.max()) / np.float32(draw.temperature))
    token_ids = _nucleus(weights, draw.top_p) if draw.top_p < 1 else np.arange(len(weights))
    sums: NDArray[np.float64] = np.cumsum(weights[token_ids], dtype=np.float64)
    at = int(np.searchsorted(sums, draw.number * float(sums[-1]), side="right"))
    return token_ids[min(at, len(sums) - 1)].item()


def _nucleus(weights: Logits, top_p: float) -> NDArray[np.int64]:
    """float32 [V] -> int64 [K]: the likeliest tokens, as many as `top_p` of the weight needs."""
    total = float(weights.sum(dtype=np.float64))
    # all others together have less than 1 - top_p: so much less is there to sort
    likely = np.flatnonzero(weights * len(weights) > (1 - top_p) * total)
    ordered: NDArray[np.int64] = likely[np.argsort(-weights[likely], kind="stable")]
    sums: NDArray[np.float64] = np.cumsum(weights[ordered], dtype=np.float64)
    return ordered[: int(np.searchsorted(sums, top_p * total)) + 1]
