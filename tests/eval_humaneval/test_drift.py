"""Tests of drift, on an engine whose log-likelihoods are known."""

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from acepilot.cli import text_console
from acepilot.errors import ConfigError
from eval_humaneval.cli import main
from eval_humaneval.drift import Drift, drift_by_language, log_likelihoods, read_base_texts
from eval_humaneval.figures.table import print_drift
from eval_humaneval.gate.decision import NOT_JUDGED

NATS = {"base": {"py": -1.0, "go": -2.0}, "tuned": {"py": -1.5, "go": -2.0}}
CONTEXT = 40


class WordEngine:
    """Tokens are words; their log-likelihood is in NATS, by the file's ending in the first line."""

    info = SimpleNamespace(context_tokens=CONTEXT)

    def __init__(self, model: str) -> None:
        self.nats = NATS[model]
        self.scored: list[int] = []
        """Words of each scored text."""

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        assert prompt.endswith("\n")
        words = len(continuation.split())
        self.scored.append(words)
        return [self.nats[prompt.split()[1].split(".")[1]]] * words

    def close(self) -> None: ...


def score(engine: WordEngine, path: Path) -> list[np.ndarray]:
    texts = read_base_texts(path)
    return asyncio.run(log_likelihoods(engine, "a model", texts, Console(quiet=True)))


def drift_between(path: Path) -> dict[str, Drift]:
    before, after = (score(WordEngine(model), path) for model in NATS)
    return drift_by_language(read_base_texts(path), before, after)


def write_words(path: Path) -> Path:
    rows = [
        {"text": f"# file.{name}\n" + "word " * (5 + number) + "\u2028", "language": language, "seed": number}
        for name, language in (("py", "python"), ("go", "go"))
        for number in range(4)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def test_lost_likelihood_is_measured_by_language(tmp_path: Path) -> None:
    found = drift_between(write_words(tmp_path / "own.jsonl"))
    assert list(found) == ["go", "python", "all"]
    assert (found["python"].value, found["python"].low, found["python"].texts) == pytest.approx((0.5, 0.5, 4))
    assert found["go"].value == 0
    assert 0 < found["all"].low < found["all"].value == 0.25 < found["all"].high < 0.5


def test_a_text_longer_than_the_context_is_cut(tmp_path: Path) -> None:
    text = {"text": "# file.py\n" + "word " * 10 * CONTEXT, "language": "python"}
    (tmp_path / "own.jsonl").write_text(json.dumps(text))
    engine = WordEngine("base")
    score(engine, tmp_path / "own.jsonl")
    assert CONTEXT / 2 < engine.scored[0] < CONTEXT


@pytest.mark.parametrize("content", ["{}", "no json", '{"text": "# only.py", "language": "python"}', ""])
def test_a_file_without_texts_of_the_base_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(content)
    with pytest.raises(ConfigError, match=r"own\.jsonl"):
        read_base_texts(tmp_path / "own.jsonl")


def test_the_table_shows_the_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_drift("base", "tuned", drift_between(write_words(tmp_path / "own.jsonl")), text_console())
    out = capsys.readouterr().out
    assert "Python" in out
    assert "+0.500" in out


def test_the_command_names_the_program_that_writes_the_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "drift", "base", "tuned", "--texts", str(tmp_path / "none.jsonl")]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == NOT_JUDGED
    assert "python -m finetune.corpus.sample_replay" in capsys.readouterr().err
