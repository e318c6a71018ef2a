"""Tests of a completion's measures: equality, edit distance, syntax, likelihood."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_humaneval.holes.cut import cut_holes
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.score import edit_distance, score
from tests.eval_humaneval.holes.holes_code import COUNTER, STOCK, repository


@pytest.fixture
def holes(tmp_path: Path) -> list[Hole]:
    files = {"stock.py": STOCK, "Counter.vue": COUNTER}
    return cut_holes(repository(tmp_path / "shop", files), per_language=1_000, seed=1)


def one(holes: list[Hole], truth: str, kind: str) -> Hole:
    return next(hole for hole in holes if hole.truth == truth and hole.kind == kind)


def test_the_truth_is_exact_whatever_follows_it(holes: list[Hole]) -> None:
    for hole in holes:
        for completion in (hole.truth, f"{hole.truth}  ", hole.truth + hole.after):
            measures = score(hole, completion, [-0.5, -1.5])
            assert (measures.exact_match, measures.edit_similarity) == (True, 1.0)
            assert measures.parses is True
            assert measures.log_likelihood == -1.0
            assert (measures.kind, measures.block) == (hole.kind, hole.block)


def test_white_space_at_line_ends_is_ignored(holes: list[Hole]) -> None:
    block = next(hole for hole in holes if hole.kind == "block" and hole.problem.language == "python")
    assert score(block, block.truth.replace("\n", "  \n"), None).exact_match
    assert not score(block, block.truth.replace("\n", "\n "), None).exact_match


def test_near_and_far(holes: list[Hole]) -> None:
    hole = one(holes, "rows = json.loads(text)", "line")
    near = score(hole, "rows = json.load(text)\n", None)
    assert not near.exact_match
    assert near.edit_similarity == pytest.approx(1 - 1 / 23)
    assert near.parses is True
    assert near.log_likelihood is None
    far = score(hole, "rows = = (", None)
    assert far.edit_similarity < 0.5
    assert far.parses is False


def test_nothing_is_no_answer(holes: list[Hole]) -> None:
    for hole in holes:
        measures = score(hole, " \n", None)
        assert (measures.exact_match, measures.edit_similarity, measures.parses) == (False, 0.0, False)


def test_a_component_is_parsed_inside_its_blocks_too(holes: list[Hole]) -> None:
    """Vue's own grammar accepts any text as a script or as a directive's value."""
    script = one(holes, "const change = props.step * times", "line")
    assert score(script, "const change = = times", None).parses is False
    assert score(script, "const change = '</script>'", None).parses is False
    value = one(holes, "add(props.step)", "expression")
    assert score(value, "add(props.step", None).parses is False
    assert score(value, "add(props.other)", None).parses is True


def test_parses_is_unknown_if_the_original_does_not_parse(tmp_path: Path) -> None:
    broken = STOCK + "\n\ndef half(:\n"
    holes = cut_holes(repository(tmp_path / "shop", {"stock.py": broken}), per_language=1_000, seed=1)
    assert {score(hole, hole.truth, None).parses for hole in holes} == {None}


def plain_distance(one: str, other: str) -> int:
    """Compute the distance by its definition, a cell at a time."""
    row = list(range(len(other) + 1))
    for at, char in enumerate(one, 1):
        above, row = row, [at]
        for column, letter in enumerate(other, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (char != letter)))
    return row[-1]


@given(st.text("abé\n", max_size=12), st.text("abé\n", max_size=12))
def test_edit_distance_is_levenshteins(one: str, other: str) -> None:
    assert edit_distance(one, other) == plain_distance(one, other)
