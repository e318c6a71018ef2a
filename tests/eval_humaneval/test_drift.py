"""Drift: what a tuned model makes of its base's words, on an engine whose likelihoods are known."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from acepilot.errors import ConfigError
from eval_humaneval import drift as drifting
from eval_humaneval.cli import main
from eval_humaneval.drift import drift
from eval_humaneval.gate.decision import NOT_JUDGED
from eval_humaneval.settings import EvalSettings

NATS = {"base": {"py": -1.0, "go": -2.0}, "tuned": {"py": -1.5, "go": -2.0}}
CONTEXT = 40


class WordEngine:
    """A token is a word; each has the nats of NATS, by the file's name in the first line."""

    info = SimpleNamespace(context_tokens=CONTEXT)

    def __init__(self, model: str, read: list[int]) -> None:
        self._nats, self._read = NATS[model], read

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def score(self, prompt: str, continuation: str) -> list[float]:
        assert prompt.endswith("\n")
        words = len(continuation.split())
        self._read.append(words)
        return [self._nats[prompt.split()[1].split(".")[1]]] * words

    def close(self) -> None: ...


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many words of each text were scored."""
    words: list[int] = []
    monkeypatch.setattr(drifting, "resolve", lambda name: name)
    monkeypatch.setattr(drifting, "open_engine", lambda name, _engine, _options: WordEngine(name, words))
    return words


def write_words(path: Path) -> Path:
    rows = [
        {"text": f"# file.{name}\n" + "word " * (5 + number) + "\u2028", "language": language, "seed": number}
        for name, language in (("py", "python"), ("go", "go"))
        for number in range(4)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.mark.usefixtures("read")
def test_what_became_less_likely_is_told_by_language(tmp_path: Path) -> None:
    found = drift("base", "tuned", write_words(tmp_path / "own.jsonl"), EvalSettings(), Console(quiet=True))
    assert list(found) == ["go", "python", "all"]
    assert (found["python"].value, found["python"].low, found["python"].texts) == pytest.approx((0.5, 0.5, 4))
    assert found["go"].value == 0
    assert 0 < found["all"].low < found["all"].value == 0.25 < found["all"].high < 0.5


def test_a_text_that_is_too_long_is_cut(tmp_path: Path, read: list[int]) -> None:
    text = {"text": "# file.py\n" + "word " * 10 * CONTEXT, "language": "python"}
    (tmp_path / "own.jsonl").write_text(json.dumps(text))
    drift("base", "tuned", tmp_path / "own.jsonl", EvalSettings(), Console(quiet=True))
    assert read[0] == read[1]
    assert CONTEXT / 2 < read[0] < CONTEXT


@pytest.mark.parametrize("content", ["{}", "no json", '{"text": "# only.py", "language": "python"}', ""])
def test_what_is_no_file_of_own_words_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(content)
    with pytest.raises(ConfigError, match=r"own\.jsonl"):
        drift("base", "tuned", tmp_path / "own.jsonl", EvalSettings(), Console(quiet=True))


@pytest.mark.usefixtures("read")
def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, target = write_words(tmp_path / "own.jsonl"), tmp_path / "new" / "drift.json"
    words = ["eval", "drift", "base", "tuned", "--texts", str(texts), "--json", str(target)]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 0
    assert "Python" in (told := capsys.readouterr().out)
    assert "+0.500" in told
    assert json.loads(target.read_text())["all"]["value"] == 0.25
    monkeypatch.setattr(sys, "argv", [*words[:5], str(tmp_path / "none.jsonl")])
    assert main() == NOT_JUDGED
    assert "sample_replay.py` writes it" in capsys.readouterr().err
