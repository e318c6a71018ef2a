"""Stop strings in a text that arrives in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.stop_monitor import StopStrings

texts = st.text("ab", min_size=1, max_size=8)


@given(st.lists(texts, max_size=4), st.text("abc", max_size=40))
def test_a_stop_string_is_found_and_held_back_as_a_plain_search_does(stops: list[str], text: str) -> None:
    strings = StopStrings(stops)
    for end in range(1, len(text) + 1):
        now = text[:end]
        found = [now.find(stop) for stop in stops if stop in now]
        begun = [size for size in range(1, end + 1) if any(stop.startswith(now[-size:]) for stop in stops)]
        expected = (min(found), True) if found else (end - max(begun, default=0), False)
        assert strings.feed(now) == expected
        if found:
            break


@pytest.mark.parametrize("pieces", [["one END two"], ["one E", "ND two"], list("one END two")])
def test_the_text_ends_before_the_first_stop_string(pieces: list[str]) -> None:
    strings, text = StopStrings(["two", "END"]), ""
    for piece in pieces:
        text += piece
        shown, stopped = strings.feed(text)
        if stopped:
            break
    assert text[:shown] == "one "
