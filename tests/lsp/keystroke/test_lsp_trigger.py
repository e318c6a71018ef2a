"""When the server is asked: the trigger and the debounce."""

import pytest

from lsp.keystroke.debounce import MAX_WAIT_MS, MIN_WAIT_MS, Debounce
from lsp.keystroke.trigger import refusal
from tests.lsp.snapshots import snapshot


def test_more_than_eight_characters_right_of_the_cursor_stop_automatic_requests() -> None:
    assert refusal(snapshot(suffix="12345678  \n"), invoked=False) is None
    assert "9 characters" in (refusal(snapshot(suffix="123456789\n"), invoked=False) or "")
    assert refusal(snapshot(suffix="123456789\n"), invoked=True) is None
    assert "binary" in (refusal(snapshot(suffix="\0"), invoked=True) or "")


def typing(gap_ms: float, keys: int = 50) -> Debounce:
    debounce = Debounce()
    for key in range(keys):
        debounce.key(key * gap_ms)
    return debounce


def test_the_wait_is_the_users_mean_gap() -> None:
    fast, slow = typing(60), typing(250)
    assert fast.wait_ms("ab", "cd", invoked=False) == pytest.approx(60, rel=0.02)
    assert slow.wait_ms("ab", "cd", invoked=False) == pytest.approx(250, rel=0.02)


def test_a_long_pause_does_not_count() -> None:
    debounce = typing(60)
    before = debounce.wait_ms("ab", "cd", invoked=False)
    debounce.key(60_000)
    assert debounce.wait_ms("ab", "cd", invoked=False) == before


def test_the_end_of_a_line_or_word_waits_less() -> None:
    debounce = typing(200)
    within = debounce.wait_ms("ab", "cd", invoked=False)
    assert debounce.wait_ms("ab", "", invoked=False) < within
    assert debounce.wait_ms("ab(", "", invoked=False) < debounce.wait_ms("ab", "", invoked=False)


def test_a_slow_response_shortens_the_wait_and_a_request_by_hand_has_none() -> None:
    debounce = typing(200)
    debounce.answered(150)
    assert debounce.wait_ms("ab", "cd", invoked=False) == pytest.approx(50, abs=5)
    debounce.answered(90_000)
    assert debounce.wait_ms("ab", "cd", invoked=False) == MIN_WAIT_MS
    assert debounce.wait_ms("ab", "cd", invoked=True) == 0
    assert typing(900).wait_ms("ab", "cd", invoked=False) == MAX_WAIT_MS
