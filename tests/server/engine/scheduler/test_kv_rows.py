"""Which row of the KV cache a prompt gets, and how much of the prompt it finds there."""

from server.engine.scheduler.kv_rows import COPY_TOKENS, Place, Rows, common_prefix

FIRST = list(range(100, 200))
SECOND = list(range(300, 400))


def fill(rows: Rows, token_ids: list[int], cache_salt: str = "") -> int:
    """Let a sequence take a row, fill it and leave; return its slot."""
    place = taken(rows, token_ids, cache_salt)
    place.row.tokens = list(token_ids)
    rows.release(place.row)
    return place.row.slot


def taken(rows: Rows, token_ids: list[int], cache_salt: str = "") -> Place:
    place = rows.take(token_ids, cache_salt)
    assert place is not None
    return place


def test_common_prefix() -> None:
    assert common_prefix([], [1]) == 0
    assert common_prefix([1, 2, 3], [1, 2, 3]) == 3
    assert common_prefix([1, 2, 3], [1, 2]) == 2
    assert common_prefix([1, 9, 3], [1, 2, 3]) == 1
    assert common_prefix([9, 2], [1, 2]) == 0


def test_a_prompt_continues_in_the_row_that_has_most_of_it() -> None:
    rows = Rows(3)
    fill(rows, FIRST)
    slot = fill(rows, SECOND)
    place = taken(rows, [*SECOND[:60], 7, 8])
    assert (place.row.slot, place.reused, place.source) == (slot, 60, None)
    assert place.row.tokens == SECOND, "nothing was computed yet"


def test_a_beginning_in_use_is_copied() -> None:
    rows = Rows(2)
    first = taken(rows, FIRST)
    first.row.tokens = list(FIRST)
    place = taken(rows, [*FIRST[:90], 7])
    assert place.source == first.row.slot
    assert (place.reused, place.row.tokens) == (90, FIRST[:90])


def test_a_short_beginning_in_use_is_not_worth_a_copy() -> None:
    rows = Rows(2)
    first = taken(rows, FIRST)
    first.row.tokens = list(FIRST)
    place = taken(rows, [*FIRST[: COPY_TOKENS - 1], 7])
    assert (place.reused, place.source) == (0, None)


def test_a_row_that_would_lose_most_of_its_tokens_is_spared() -> None:
    rows = Rows(2)
    spared = fill(rows, [*FIRST, *FIRST])
    licence = COPY_TOKENS + 1
    place = taken(rows, [*FIRST[:licence], 7])
    assert place.row.slot != spared
    assert (place.source, place.reused) == (spared, licence)


def test_the_row_used_longest_ago_goes_first() -> None:
    rows = Rows(3)
    slots = [fill(rows, [number] * 50) for number in (1, 2, 3)]
    assert slots == [0, 1, 2]
    fill(rows, [1] * 60)
    place = taken(rows, SECOND)
    assert (place.row.slot, place.reused) == (1, 0)


def test_none_is_left_when_all_are_busy() -> None:
    rows = Rows(2)
    places = [taken(rows, FIRST), taken(rows, SECOND)]
    assert rows.take(FIRST) is None
    assert rows.busy_ratio == 1
    rows.release(places[0].row)
    assert rows.busy_ratio == 0.5
    assert taken(rows, FIRST).row.slot == places[0].row.slot


def test_without_the_prefix_cache_nothing_is_reused() -> None:
    rows = Rows(2, prefix_cache=False)
    fill(rows, FIRST)
    place = taken(rows, FIRST)
    assert (place.row.slot, place.reused, place.source) == (1, 0, None)
    assert rows.longest_kept(FIRST) == 0


def test_a_row_is_reused_only_by_its_own_salt() -> None:
    rows = Rows(3)
    slot = fill(rows, FIRST, "one")
    place = taken(rows, FIRST, "two")
    assert (place.reused, place.source) == (0, None)
    assert rows.longest_kept(FIRST, "two") == 0
    again = taken(rows, FIRST, "one")
    assert (again.row.slot, again.reused) == (slot, len(FIRST))


def test_a_row_in_use_is_copied_only_for_its_own_salt() -> None:
    rows = Rows(3)
    first = taken(rows, FIRST, "one")
    first.row.tokens = list(FIRST)
    assert taken(rows, FIRST, "two").source is None
    assert taken(rows, FIRST, "one").source == first.row.slot


def test_a_row_that_changes_hands_is_empty_at_once() -> None:
    rows = Rows(1)
    fill(rows, FIRST, "one")
    place = taken(rows, FIRST, "two")
    assert place.row.tokens == []
    assert rows.longest_kept(FIRST, "two") == 0, "nothing was computed for this salt yet"
