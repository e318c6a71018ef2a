"""How far a tuned model has moved from its base where it was not tuned: `python -m eval_humaneval drift`.

Both read texts that the base wrote itself (`python -m finetune.corpus.sample_replay`), and that no corpus
holds. How much less likely the tuned model finds them estimates the Kullback-Leibler divergence of the two.
docs/evaluation.md has the reason: likelihood of other people's code does not show what was forgotten.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError
from rich.console import Console

from acepilot.errors import ConfigError
from acepilot.models.resolve import resolve
from acepilot.progress import count_progress
from eval_humaneval.figures.metrics import mean_interval
from eval_humaneval.settings import EvalSettings
from server.engine.base import Engine, EngineOptions
from server.engine.opening import open_engine


class OwnWords(BaseModel):
    """A line of the file: what a model wrote in `language`, behind a first line that it was given."""

    text: str
    language: str


@dataclass(frozen=True)
class Drift:
    """Nats a token that were lost, with a two-sided 95 % interval clustered on the text."""

    value: float
    low: float
    high: float
    texts: int


def drift(base: str, tuned: str, texts: Path, settings: EvalSettings, console: Console) -> dict[str, Drift]:
    """By language, and `all`. Raises ConfigError for a file without OwnWords, and what engines raise."""
    words = _read(texts)
    before, after = (_log_likelihoods(model, words, settings, console) for model in (base, tuned))
    lost = [
        (one.language, was.sum() - now.sum(), len(was))
        for one, was, now in zip(words, before, after, strict=True)
    ]
    groups = {name: [row for row in lost if row[0] == name] for name in sorted({row[0] for row in lost})}
    return {name: _mean(rows) for name, rows in {**groups, "all": lost}.items()}


def _read(texts: Path) -> list[OwnWords]:
    try:
        lines = texts.read_bytes().splitlines()  # as text it would also split at U+2028, which JSON may hold
        found = [OwnWords.model_validate_json(line) for line in lines if line.strip()]
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{texts} is no JSONL of {{text, language}}: `python -m finetune.corpus.sample_replay` writes it."
        ) from error
    written = [one for one in found if one.text.partition("\n")[2].strip()]
    if not written:
        raise ConfigError(f"{texts} has no text of more than its first line.")
    return written


def _log_likelihoods(
    model: str, words: list[OwnWords], settings: EvalSettings, console: Console
) -> list[np.ndarray]:
    """Of each text's tokens behind its first line."""
    options = EngineOptions(kv_cache_gb=settings.kv_cache_gb, max_streams=1, threads=settings.threads)
    engine = open_engine(resolve(model), settings.engine, options)
    try:
        return asyncio.run(_all_of(engine, model, words, console))
    finally:
        engine.close()


async def _all_of(engine: Engine, model: str, words: list[OwnWords], console: Console) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with count_progress(f"reading with {model}", len(words), console) as advance:
        for one in words:
            text = one.text
            while engine.count_tokens(text) >= engine.info.context_tokens:
                text = text[: len(text) * 3 // 4]
            opening, newline, rest = text.partition("\n")
            found.append(np.array(await engine.score(opening + newline, rest)))
            advance(len(found))
    return found


def _mean(rows: list[tuple[str, float, int]]) -> Drift:
    sums, counts = (np.array([row[column] for row in rows], dtype=np.float64) for column in (1, 2))
    found = mean_interval(sums, counts)
    return Drift(found.value, found.low, found.high, len(rows))
