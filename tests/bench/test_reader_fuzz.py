"""Damaged input of each reader, with a fixed seed: `make fuzz` tries more."""

from pathlib import Path

import pytest

from bench.hardening.reader_fuzz import fuzz
from bench.hardening.reader_targets import TARGETS


@pytest.mark.parametrize("reader", TARGETS)
def test_a_reader_gives_a_result_or_a_clear_error(reader: str, tmp_path: Path) -> None:
    assert fuzz(reader, examples=40, number=1, folder=tmp_path / "fuzz") == []
