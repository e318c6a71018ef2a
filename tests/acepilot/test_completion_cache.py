"""The cache of suggestions: typed-through, white space, scrolling, closers that editors add."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acepilot.completion_cache import CompletionCache, Hit, nearby_text_key, whole_text_key

PREFIX = "import os\n\n\ndef size(path):\n    return "
SUFFIX = "\n\nprint(size('.'))\n"
TEXT = "os.stat(path).st_size"
KEYS = (nearby_text_key, whole_text_key)


class Cache:
    """A cache with one of the two keys."""

    def __init__(self, capacity: int, key: Any) -> None:
        self.cache = CompletionCache(capacity)
        self._key = key

    def put(self, prefix: str, suffix: str, salt: str, text: str, tag: str = "") -> None:
        self.cache.put(self._key(prefix, suffix, salt), text, tag)

    def get(self, prefix: str, suffix: str, salt: str) -> Hit | None:
        return self.cache.get(self._key(prefix, suffix, salt))


@pytest.fixture(params=KEYS)
def new_cache(request: pytest.FixtureRequest) -> Callable[[int], Cache]:
    return lambda capacity: Cache(capacity, request.param)


@pytest.fixture
def cache(new_cache: Callable[[int], Cache]) -> Cache:
    cache = new_cache(8)
    cache.put(PREFIX, SUFFIX, "python", TEXT)
    return cache


def test_the_same_place_hits(cache: Cache) -> None:
    assert cache.get(PREFIX, SUFFIX, "python") == Hit(TEXT, 0)


def test_typing_the_suggestion_leaves_its_rest(cache: Cache) -> None:
    assert cache.get(PREFIX + "os.st", SUFFIX, "python") == Hit("at(path).st_size", 5)


def test_typing_something_else_misses(cache: Cache) -> None:
    assert cache.get(PREFIX + "os.po", SUFFIX, "python") is None


def test_typed_to_its_end_is_a_miss(cache: Cache) -> None:
    assert cache.get(PREFIX + TEXT, SUFFIX, "python") is None


def test_white_space_counts(cache: Cache) -> None:
    assert cache.get(PREFIX.replace("    return", "        return"), SUFFIX, "python") is None
    assert cache.get(PREFIX + " ", SUFFIX, "python") is None


def test_the_suffix_counts(cache: Cache) -> None:
    assert cache.get(PREFIX, "\n    # nothing else\n", "python") is None


def test_the_salt_counts(cache: Cache) -> None:
    assert cache.get(PREFIX, SUFFIX, "ruby") is None


def test_an_empty_answer_is_an_answer(cache: Cache) -> None:
    cache.put("x = 1\n", "", "python", "")
    assert cache.get("x = 1\n", "", "python") == Hit("", 0)
    assert cache.get("x = 1\ny", "", "python") is None


def test_a_tag_stays_with_its_suggestion(cache: Cache) -> None:
    cache.put("x = 1\n", SUFFIX, "python", TEXT, "of another place")
    cache.put(PREFIX, SUFFIX, "python", TEXT, "of this one")
    assert cache.get(PREFIX + "os.", SUFFIX, "python") == Hit("stat(path).st_size", 3, "of this one")
    cache.put(PREFIX, SUFFIX, "python", TEXT)
    assert cache.get(PREFIX, SUFFIX, "python") == Hit(TEXT, 0, "")


def test_a_bracket_closed_by_the_editor_still_hits(cache: Cache) -> None:
    assert cache.get(PREFIX + "os.stat(", ")" + SUFFIX, "python") == Hit("path).st_size", 8)


def test_two_closers_come_in_their_order(new_cache: Callable[[int], Cache]) -> None:
    cache = new_cache(8)
    cache.put("call", "\nend", "js", '({"key": 1})')
    assert cache.get('call({"', '"})\nend', "js") == Hit('key": 1})', 3)
    assert cache.get('call({"', ')}"\nend', "js") is None


def test_a_closer_without_a_typed_opener_misses(cache: Cache) -> None:
    assert cache.get(PREFIX + "os.st", ")" + SUFFIX, "python") is None


def test_the_least_recently_used_is_dropped_first(new_cache: Callable[[int], Cache]) -> None:
    cache = new_cache(2)
    cache.put("a", "", "", "1")
    cache.put("b", "", "", "2")
    assert cache.get("a", "", "") is not None
    cache.put("c", "", "", "3")
    assert cache.get("b", "", "") is None
    assert cache.get("a", "", "") == Hit("1", 0)
    assert len(cache.cache) == 2


def test_the_nearest_suggestion_wins(new_cache: Callable[[int], Cache]) -> None:
    cache = new_cache(8)
    cache.put("x = ", "", "", "foo(1)")
    cache.put("x = foo", "", "", "(2)")
    assert cache.get("x = foo", "", "") == Hit("(2)", 0)
    assert cache.get("x = foo(", "", "") == Hit("2)", 1)


LINES = st.lists(st.text(alphabet="ab (){}\t", max_size=12), min_size=12, max_size=30).map("\n".join)


@given(above=LINES, other=LINES, prefix=LINES, suffix=LINES, text=st.text("ab(){}\n ", max_size=60))
def test_scrolling_does_not_matter(above: str, other: str, prefix: str, suffix: str, text: str) -> None:
    cache = Cache(4, nearby_text_key)
    cache.put(above + "\n" + prefix, suffix, "s", text)
    assert cache.get(other + "\n" + prefix, suffix, "s") == Hit(text, 0)


@given(
    key=st.sampled_from(KEYS),
    prefix=LINES,
    suffix=LINES,
    text=st.text("ab(){}\"'\n ", min_size=1, max_size=80),
    data=st.data(),
)
def test_a_suggestion_answers_all_its_own_prefixes(
    key: Any, prefix: str, suffix: str, text: str, data: st.DataObject
) -> None:
    cache = Cache(4, key)
    cache.put(prefix, suffix, "s", text)
    typed = data.draw(st.integers(0, len(text) - 1))
    hit = cache.get(prefix + text[:typed], suffix, "s")
    assert hit is not None
    assert hit.text == text[len(text) - len(hit.text) :]
    assert hit.typed == len(text) - len(hit.text)


@given(
    key=st.sampled_from(KEYS),
    prefix=LINES,
    typed=st.text("abc(){} \n", min_size=1, max_size=30),
    text=st.text("abc(){} \n", max_size=40),
)
def test_a_hit_never_contradicts_what_was_typed(key: Any, prefix: str, typed: str, text: str) -> None:
    cache = Cache(4, key)
    cache.put(prefix, "", "s", text)
    hit = cache.get(prefix + typed, "", "s")
    assert hit is None or (prefix + typed).endswith(text[: hit.typed])


@given(
    prefix=LINES, suffix=LINES, text=st.text("ab(){}\n ", min_size=1), at=st.integers(0), char=st.characters()
)
def test_any_other_character_anywhere_misses(prefix: str, suffix: str, text: str, at: int, char: str) -> None:
    cache = Cache(4, whole_text_key)
    cache.put(prefix, suffix, "s", text)
    whole = prefix + suffix
    at %= len(whole)
    other = whole[:at] + char + whole[at + 1 :]
    hit = cache.get(other[: len(prefix)], other[len(prefix) :], "s")
    assert (hit == Hit(text, 0)) == (other == whole)


def test_prefix_and_suffix_do_not_run_into_each_other() -> None:
    cache = Cache(4, whole_text_key)
    cache.put("a = b", "c", "s", "1")
    assert cache.get("a = ", "bc", "s") is None
    assert cache.get("a = bc", "", "s") is None


def test_half_a_character_is_a_text_like_any_other() -> None:
    cache = Cache(4, whole_text_key)
    cache.put("a = \ud83d", "\udc00", "s", "1")
    assert cache.get("a = \ud83d", "\udc00", "s") == Hit("1", 0)
