"""The cache of suggestions: typed-through, white space, scrolling, closers that editors add."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acepilot.completion_cache import CompletionCache, Hit

PREFIX = "import os\n\n\ndef size(path):\n    return "
SUFFIX = "\n\nprint(size('.'))\n"
TEXT = "os.stat(path).st_size"


@pytest.fixture
def cache() -> CompletionCache:
    cache = CompletionCache(8)
    cache.put(PREFIX, SUFFIX, "python", TEXT)
    return cache


def test_the_same_place_hits(cache: CompletionCache) -> None:
    assert cache.get(PREFIX, SUFFIX, "python") == Hit(TEXT, 0)


def test_typing_the_suggestion_leaves_its_rest(cache: CompletionCache) -> None:
    assert cache.get(PREFIX + "os.st", SUFFIX, "python") == Hit("at(path).st_size", 5)


def test_typing_something_else_misses(cache: CompletionCache) -> None:
    assert cache.get(PREFIX + "os.po", SUFFIX, "python") is None


def test_typed_to_its_end_is_a_miss(cache: CompletionCache) -> None:
    assert cache.get(PREFIX + TEXT, SUFFIX, "python") is None


def test_white_space_counts(cache: CompletionCache) -> None:
    assert cache.get(PREFIX.replace("    return", "        return"), SUFFIX, "python") is None
    assert cache.get(PREFIX + " ", SUFFIX, "python") is None


def test_the_suffix_counts(cache: CompletionCache) -> None:
    assert cache.get(PREFIX, "\n    # nothing else\n", "python") is None


def test_the_salt_counts(cache: CompletionCache) -> None:
    assert cache.get(PREFIX, SUFFIX, "ruby") is None


def test_an_empty_answer_is_an_answer(cache: CompletionCache) -> None:
    cache.put("x = 1\n", "", "python", "")
    assert cache.get("x = 1\n", "", "python") == Hit("", 0)
    assert cache.get("x = 1\ny", "", "python") is None


def test_a_tag_stays_with_its_suggestion(cache: CompletionCache) -> None:
    cache.put("x = 1\n", SUFFIX, "python", TEXT, "of another place")
    cache.put(PREFIX, SUFFIX, "python", TEXT, "of this one")
    assert cache.get(PREFIX + "os.", SUFFIX, "python") == Hit("stat(path).st_size", 3, "of this one")
    cache.put(PREFIX, SUFFIX, "python", TEXT)
    assert cache.get(PREFIX, SUFFIX, "python") == Hit(TEXT, 0, "")


def test_a_bracket_closed_by_the_editor_still_hits(cache: CompletionCache) -> None:
    assert cache.get(PREFIX + "os.stat(", ")" + SUFFIX, "python") == Hit("path).st_size", 8)


def test_two_closers_come_in_their_order() -> None:
    cache = CompletionCache(8)
    cache.put("call", "\nend", "js", '({"key": 1})')
    assert cache.get('call({"', '"})\nend', "js") == Hit('key": 1})', 3)
    assert cache.get('call({"', ')}"\nend', "js") is None


def test_a_closer_without_a_typed_opener_misses(cache: CompletionCache) -> None:
    assert cache.get(PREFIX + "os.st", ")" + SUFFIX, "python") is None


def test_the_least_recently_used_is_dropped_first() -> None:
    cache = CompletionCache(2)
    cache.put("a", "", "", "1")
    cache.put("b", "", "", "2")
    assert cache.get("a", "", "") is not None
    cache.put("c", "", "", "3")
    assert cache.get("b", "", "") is None
    assert cache.get("a", "", "") == Hit("1", 0)
    assert len(cache) == 2


def test_the_nearest_suggestion_wins() -> None:
    cache = CompletionCache(8)
    cache.put("x = ", "", "", "foo(1)")
    cache.put("x = foo", "", "", "(2)")
    assert cache.get("x = foo", "", "") == Hit("(2)", 0)
    assert cache.get("x = foo(", "", "") == Hit("2)", 1)


LINES = st.lists(st.text(alphabet="ab (){}\t", max_size=12), min_size=12, max_size=30).map("\n".join)


@given(above=LINES, other=LINES, prefix=LINES, suffix=LINES, text=st.text("ab(){}\n ", max_size=60))
def test_scrolling_does_not_matter(above: str, other: str, prefix: str, suffix: str, text: str) -> None:
    cache = CompletionCache(4)
    cache.put(above + "\n" + prefix, suffix, "s", text)
    assert cache.get(other + "\n" + prefix, suffix, "s") == Hit(text, 0)


@given(prefix=LINES, suffix=LINES, text=st.text("ab(){}\"'\n ", min_size=1, max_size=80), data=st.data())
def test_a_suggestion_answers_all_its_own_prefixes(
    prefix: str, suffix: str, text: str, data: st.DataObject
) -> None:
    cache = CompletionCache(4)
    cache.put(prefix, suffix, "s", text)
    typed = data.draw(st.integers(0, len(text) - 1))
    hit = cache.get(prefix + text[:typed], suffix, "s")
    assert hit is not None
    assert hit.text == text[len(text) - len(hit.text) :]
    assert hit.typed == len(text) - len(hit.text)


@given(
    prefix=LINES,
    typed=st.text("abc(){} \n", min_size=1, max_size=30),
    text=st.text("abc(){} \n", max_size=40),
)
def test_a_hit_never_contradicts_what_was_typed(prefix: str, typed: str, text: str) -> None:
    cache = CompletionCache(4)
    cache.put(prefix, "", "s", text)
    hit = cache.get(prefix + typed, "", "s")
    assert hit is None or (prefix + typed).endswith(text[: hit.typed])
