"""How much of a file the model is shown while other requests are served."""

from acepilot.prompt import ComposedPrompt, compose
from server.prompt_window import BUSY_SEQUENCES, REMEMBERED, SHORT_SHARE, Windows

BUDGET = 600
LINES = "".join(f"line {number} has five words\n" for number in range(400))


def shown_tokens(windows: Windows, prefix: str, in_hand: int, cache_salt: str = "") -> int:
    """Return how many words of the prefix are shown."""

    def within(budget_tokens: int) -> ComposedPrompt:
        return compose(
            prefix,
            "",
            fim=None,
            special_tokens=(),
            budget_tokens=budget_tokens,
            count_tokens=lambda text: len(text.split()),
        )

    return windows.choose(within, BUDGET, in_hand, cache_salt).report.prefix_tokens


def test_an_idle_server_shows_a_new_file_up_to_the_budget() -> None:
    assert BUDGET / 2 < shown_tokens(Windows(), LINES, BUSY_SEQUENCES - 1) <= BUDGET


def test_a_busy_server_shows_less_of_a_new_file() -> None:
    assert 0 < shown_tokens(Windows(), LINES, BUSY_SEQUENCES) <= BUDGET / SHORT_SHARE


def test_a_shown_window_stays_whatever_the_load() -> None:
    windows = Windows()
    long = shown_tokens(windows, LINES, 0)
    other = LINES.replace("line", "row")
    short = shown_tokens(windows, other, BUSY_SEQUENCES)
    for count in range(1, 6):
        assert shown_tokens(windows, LINES + "x " * count, BUSY_SEQUENCES) == long + count
        assert shown_tokens(windows, other + "x " * count, 0) == short + count


def test_a_window_shown_to_another_client_does_not_count() -> None:
    windows = Windows()
    shown_tokens(windows, LINES, 0, "one")
    assert shown_tokens(windows, LINES, BUSY_SEQUENCES, "two") <= BUDGET / SHORT_SHARE
    assert shown_tokens(windows, LINES, BUSY_SEQUENCES, "one") > BUDGET / SHORT_SHARE


def test_an_empty_file_replaces_no_other() -> None:
    windows = Windows()
    long = shown_tokens(windows, LINES, 0)
    assert shown_tokens(windows, "", 0) == 0
    assert shown_tokens(windows, LINES, BUSY_SEQUENCES) == long


def test_an_old_window_is_forgotten() -> None:
    windows = Windows()
    shown_tokens(windows, LINES, BUSY_SEQUENCES)
    for number in range(REMEMBERED):
        shown_tokens(windows, LINES.replace("line", f"file{number}"), 0)
    assert shown_tokens(windows, LINES + "x", 0) > BUDGET / SHORT_SHARE
