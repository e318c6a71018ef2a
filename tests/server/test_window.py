"""How much of a file is shown when others are being served."""

from functools import partial

from acepilot.prompt import compose
from server.window import BUSY_SEQUENCES, REMEMBERED, SHORT_SHARE, Windows

BUDGET = 600
LINES = "".join(f"line {number} has five words\n" for number in range(400))


def shown_tokens(windows: Windows, prefix: str, in_hand: int) -> int:
    """Of the prefix, in words."""
    within = partial(
        compose, prefix, "", fim=None, special_tokens=(), count_tokens=lambda text: len(text.split())
    )
    return windows.choose(within, BUDGET, in_hand).fitted.report.prefix_tokens


def test_alone_a_new_file_is_shown_as_far_as_the_budget_goes() -> None:
    assert BUDGET / 2 < shown_tokens(Windows(), LINES, BUSY_SEQUENCES - 1) <= BUDGET


def test_beside_others_a_new_file_is_shown_less_of() -> None:
    assert 0 < shown_tokens(Windows(), LINES, BUSY_SEQUENCES) <= BUDGET / SHORT_SHARE


def test_what_was_shown_goes_on_whatever_the_load() -> None:
    windows = Windows()
    long = shown_tokens(windows, LINES, 0)
    other = LINES.replace("line", "row")
    short = shown_tokens(windows, other, BUSY_SEQUENCES)
    for count in range(1, 6):
        assert shown_tokens(windows, LINES + "x " * count, BUSY_SEQUENCES) == long + count
        assert shown_tokens(windows, other + "x " * count, 0) == short + count


def test_an_empty_file_takes_no_other_s_place() -> None:
    windows = Windows()
    long = shown_tokens(windows, LINES, 0)
    assert shown_tokens(windows, "", 0) == 0
    assert shown_tokens(windows, LINES, BUSY_SEQUENCES) == long


def test_what_was_shown_long_ago_is_forgotten() -> None:
    windows = Windows()
    shown_tokens(windows, LINES, BUSY_SEQUENCES)
    for number in range(REMEMBERED):
        shown_tokens(windows, LINES.replace("line", f"file{number}"), 0)
    assert shown_tokens(windows, LINES + "x", 0) > BUDGET / SHORT_SHARE
