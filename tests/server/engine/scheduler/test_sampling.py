"""Tokens chosen by their probability, against the textbook's way of doing it."""

import math
from collections import Counter

import numpy as np
import pytest

from server.engine.scheduler.sampling import Draw, choose, log_probs

RANDOM = np.random.default_rng(5)


def probabilities(logits: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """Sort all, keep the smallest set that has `top_p` together, and scale that to 1."""
    exact = np.exp((logits - logits.max()).astype(np.float64) / temperature)
    exact /= exact.sum()
    kept = np.zeros_like(exact)
    total = 0.0
    for token in np.argsort(-exact, kind="stable"):
        if total >= top_p:
            break
        kept[token] = exact[token]
        total += exact[token]
    return kept / kept.sum()


def test_greedy_takes_the_likeliest_beside_rows_that_draw() -> None:
    logits = RANDOM.standard_normal((4, 50)).astype(np.float32)
    chosen = choose(logits, [None, Draw(1.0, 1.0, 0.5), None, None])
    assert [chosen[row] for row in (0, 2, 3)] == [int(logits[row].argmax()) for row in (0, 2, 3)]


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 0.001])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 2.0])
def test_tokens_come_as_often_as_they_are_likely(temperature: float, top_p: float) -> None:
    logits = (RANDOM.standard_normal(40) * 2).astype(np.float32)
    expected = probabilities(logits, temperature, top_p)
    grid = (np.arange(4000) + 0.5) / 4000
    drawn = Counter(choose(logits[None], [Draw(temperature, top_p, float(at))])[0] for at in grid)
    for token, probability in enumerate(expected):
        assert drawn[token] / len(grid) == pytest.approx(probability, abs=1.1 / len(grid))


def test_random_numbers_near_0_and_1_draw_a_possible_token() -> None:
    logits = np.full((1, 10), -np.inf, np.float32)
    logits[0, [3, 7]] = 0
    for top_p in (1.0, 0.9):
        assert choose(logits, [Draw(1.0, top_p, 0.0)]) == [3]
        assert choose(logits, [Draw(1.0, top_p, math.nextafter(1, 0))]) == [7]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_infinite_and_nan_logits_are_an_error(wrong: float) -> None:
    logits = np.zeros((2, 10), np.float32)
    logits[1, 4] = wrong
    with pytest.raises(FloatingPointError, match="--dtype float32"):
        choose(logits, [None, Draw(1.0, 0.9, 0.5)])


def test_log_probs_are_natural_and_sum_to_one() -> None:
    logits = (RANDOM.standard_normal((3, 30)) * 40).astype(np.float32)
    for token in range(30):
        row = logits[1].astype(np.float64)
        expected = row[token] - row.max() - math.log(np.exp(row - row.max()).sum())
        assert log_probs(logits, [0, token, 1])[1] == pytest.approx(expected, abs=1e-4)
    total = sum(math.exp(log_probs(logits[:1], [token])[0]) for token in range(30))
    assert total == pytest.approx(1, abs=1e-6)
