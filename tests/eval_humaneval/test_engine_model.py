"""Tests of a model in an engine: what of a hole's text can be scored."""

import asyncio
from dataclasses import replace

import pytest

from acepilot.prompt import SENTINEL_TOKENS
from eval_humaneval.generation import EngineModel
from eval_humaneval.problems.problem import Problem
from tests.server.conftest import ScriptedEngine

CONTEXT_TOKENS = 40
HOLE = Problem("hole", "file", "python", "total = ", (), "")


@pytest.mark.parametrize(
    ("words", "scored"),
    [(1, True), (CONTEXT_TOKENS - SENTINEL_TOKENS - 2, True), (CONTEXT_TOKENS - SENTINEL_TOKENS - 1, False)],
)
def test_a_text_that_leaves_no_room_for_a_prompt_is_not_scored(words: int, scored: bool) -> None:
    engine = ScriptedEngine()
    engine.info = replace(engine.info, context_tokens=CONTEXT_TOKENS)
    found = asyncio.run(EngineModel(engine).score(HOLE, "word " * words))
    assert (found is not None) == scored
