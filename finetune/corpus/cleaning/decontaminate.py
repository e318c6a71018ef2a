"""Build, step 4: find documents that overlap an evaluation problem, so that no score measures memory.

A document overlaps when it shares NGRAM_WORDS words in a row with a problem's prompt and solution.
datatrove's own steps are not used, because their indexer imports lighteval and with it torch.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from acepilot.errors import ConfigError

NGRAM_WORDS = 12  # as in datatrove
_WORD = re.compile(r"\w+")
_NAMES = ("task_id", "id", "name")
_TEXTS = ("prompt", "canonical_solution", "solution", "completion", "text")


class ProblemIndex:
    """Every run of NGRAM_WORDS words in the problems, in memory: a few MB for HumanEval in ten languages."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._problems: dict[tuple[str, ...], str] = {}
        for file in files:
            for name, text in _problems(file):
                for run in _runs(text):
                    self._problems.setdefault(run, name)

    def overlapping(self, text: str) -> str | None:
        """Return the name of a problem that `text` overlaps, or None."""
        if not self._problems:
            return None
        return next((name for run in _runs(text) if (name := self._problems.get(run))), None)


def _problems(file: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The problems {file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = cast(dict[str, Any], json.loads(line))
            text = "\n".join(str(record[key]) for key in _TEXTS if key in record)
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"{file}, line {number} is not a JSON object: {error}") from error
        if not text:
            raise ConfigError(f"{file}, line {number} has none of the fields {', '.join(_TEXTS)}.")
        yield next((str(record[key]) for key in _NAMES if key in record), f"{file.name}:{number}"), text


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return (tuple(words[at : at + NGRAM_WORDS]) for at in range(len(words) - NGRAM_WORDS + 1))
