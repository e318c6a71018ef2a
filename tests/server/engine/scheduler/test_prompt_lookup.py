"""Drafts from a sequence's own text."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.engine.scheduler.prompt_lookup import LONGEST_DRAFT_TOKENS, SIZES, PromptLookup


def lookup_over(*pieces: list[int]) -> PromptLookup:
    lookup = PromptLookup()
    for piece in pieces:
        lookup.extend(piece)
    return lookup


def test_what_followed_before_is_drafted() -> None:
    lookup = lookup_over([1, 2, 3, 10, 11, 12, 13, 14, 15], [1, 2, 3])
    assert lookup.draft(3) == [10, 11, 12]


def test_the_longest_match_wins_and_of_those_the_last() -> None:
    assert lookup_over([1, 2, 3, 10, 7, 2, 3, 20, 7], [1, 2, 3]).draft(1) == [10]
    assert lookup_over([1, 2, 3, 10, 1, 2, 3, 20, 7], [1, 2, 3]).draft(1) == [20]
    assert lookup_over([8, 2, 3, 10, 7], [2, 3]).draft(1) == [10]


def test_new_text_has_no_draft() -> None:
    assert lookup_over([1, 2, 3, 4, 5]).draft(4) == []
    assert lookup_over([1]).draft(4) == []
    assert lookup_over().draft(4) == []


def test_text_that_repeats_itself_is_drafted_beyond_its_end() -> None:
    lookup = lookup_over([5, 6, 7] * 3)
    lookup.judge(4, 4)
    assert lookup.draft(7) == [5, 6, 7, 5, 6, 7, 5]
    assert lookup_over([4] * 5).draft(3) == [4, 4, 4]


def test_drafts_grow_while_they_are_right_and_shrink_when_wrong() -> None:
    lookup = lookup_over([5, 6, 7] * 20)
    lengths = [len(lookup.draft(100))]
    for _ in range(5):
        lookup.judge(lengths[-1], lengths[-1])
        lengths.append(len(lookup.draft(100)))
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[1]
    assert lengths[-1] == LONGEST_DRAFT_TOKENS
    lookup.judge(LONGEST_DRAFT_TOKENS, 2)
    assert len(lookup.draft(100)) == 3
    lookup.judge(3, 0)
    assert len(lookup.draft(100)) == 1


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_the_index_finds_what_a_scan_finds(tokens: list[int], cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(tokens)) for cut in cuts), len(tokens)]
    pieces = [tokens[start:end] for start, end in pairwise(bounds)]
    expected: list[int] = []
    for size in SIZES:
        starts = [at for at in range(len(tokens) - size) if tokens[at : at + size] == tokens[-size:]]
        if starts and len(tokens) >= size:
            expected = tokens[starts[-1] + size :][:1]
            break
    assert lookup_over(*pieces).draft(1) == expected
