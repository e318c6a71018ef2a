"""Clean text from upstream: sentinels, surrogates and half characters, wherever the stream is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.upstream.text import CleanText

SENTINELS = frozenset({"<|endoftext|>", "<|fim_suffix|>", "<fim_middle>", "<s>", "</s>", "<unk>"})
LEAKED = ("<|endoftext|>", "<|fim_suffix|>", "<fim_middle>")


def cleaned(*pieces: str) -> str:
    text = CleanText(SENTINELS)
    shown = ""
    for piece in pieces:
        shown += text.feed(piece)
        if text.ended:
            return shown
    return shown + text.rest()


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["return a", " + b"], "return a + b"),
        (["return a", "<|endoftext|>", "import x"], "return a"),
        (["return a<|end", "oftext|>"], "return a"),
        (["a <", " b"], "a < b"),
        (["a <|", "> b"], "a <|> b"),
        (["a <|fim_"], "a <|fim_"),
        (["<template><s>", "old</s>"], "<template><s>old</s>"),
        (["x = '\ud83d", "\ude00'"], "x = '😀'"),
        (["x = '\ud83d"], "x = '"),
        (["x = '\ufffd", "\ufffd"], "x = '"),
        (["x\ufffd", "y"], "x\ufffdy"),
        (["\ufffd<|endoftext|>"], ""),
        ([], ""),
    ],
)
def test_what_is_shown(pieces: list[str], shown: str) -> None:
    assert cleaned(*pieces) == shown


@given(
    st.lists(st.sampled_from(["a", "<", "|", ">", "<|", "😀", "end", "\n", *SENTINELS]), max_size=12).map(
        "".join
    ),
    st.data(),
)
def test_where_a_stream_is_cut_changes_nothing(text: str, data: st.DataObject) -> None:
    places = data.draw(st.sets(st.integers(0, len(text)), max_size=6))
    cuts = [0, *sorted(places), len(text)]
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    first = min((text.index(token) for token in LEAKED if token in text), default=len(text))
    assert cleaned(*pieces) == cleaned(text) == text[:first]


@given(st.text())
def test_every_character_survives_as_two_surrogates(text: str) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    halves = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    assert without_sentinels(halves) == text.rstrip("\ufffd")


def without_sentinels(pieces: list[str]) -> str:
    text = CleanText(frozenset())
    return "".join(text.feed(piece) for piece in pieces) + text.rest()
