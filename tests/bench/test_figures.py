"""The figures of replays made by hand."""

from bench.figures import ghost_times, percentile, replay_figures
from bench.typing.editor import PATIENCE_S
from tests.bench.replays import ALL_PAUSES, replay_of


def test_percentiles_are_interpolated() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert percentile(list(map(float, range(101))), 0.95) == 95.0


def test_no_answer_counts_as_the_whole_patience_and_an_empty_answer_has_no_time() -> None:
    assert ghost_times(ALL_PAUSES) == [0.2, 3.0, PATIENCE_S]
    figures = replay_figures(replay_of(ALL_PAUSES))
    assert figures["p50_ms"] == 3000
    assert (figures["answered"], figures["shown"], figures["in_time"]) == (0.75, 0.5, 0.25)
    assert figures["tokens_per_kept_char"] == 500
    assert figures["tokens_per_keystroke"] == 20
    assert figures["cpu_s_per_1000_keys"] == 50


def test_figures_without_a_count_are_none() -> None:
    assert replay_figures(replay_of(ALL_PAUSES, computed_tokens=0))["tokens_per_kept_char"] is None
    assert replay_figures(replay_of(ALL_PAUSES, kept_chars=0))["tokens_per_kept_char"] is None
