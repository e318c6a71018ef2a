"""Measure how far a tuned model has drifted from its base: `python -m eval_humaneval drift`.

Both models score texts that the base has written (`python -m finetune.corpus.sample_replay`) and that are in
no corpus. The mean loss of log-likelihood estimates the Kullback-Leibler divergence of the two models.
docs/evaluation.md explains why other people's code does not show what a tuned model has forgotten.
"""

import asyncio
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError
from rich.console import Console

from acepilot.errors import ConfigError
from acepilot.models.resolve import resolve
from acepilot.progress import count_progress
from eval_humaneval.figures.metrics import mean_interval
from eval_humaneval.results import Interval
from eval_humaneval.settings import EvalSettings
from server.engine.base import Engine, EngineOptions
from server.engine.opening import open_engine


class BaseText(BaseModel):
    """A line of the file: a first line that was the base's prompt, then what it wrote in `language`."""

    text: str
    language: str


class Drift(Interval):
    """Lost log-likelihood in nats per token, with a two-sided 95 % interval clustered by text."""

    texts: int


def drift(base: str, tuned: str, texts: Path, settings: EvalSettings, console: Console) -> dict[str, Drift]:
    """Return the drift by language, and of `all`. Raise ConfigError, and what engines raise."""
    read = read_base_texts(texts)
    before, after = (_score_with(model, read, settings, console) for model in (base, tuned))
    return drift_by_language(read, before, after)


def drift_by_language(
    texts: list[BaseText], before: list[np.ndarray], after: list[np.ndarray]
) -> dict[str, Drift]:
    """Return the drift between two models' log-likelihoods of `texts`."""
    lost = np.array([was.sum() - now.sum() for was, now in zip(before, after, strict=True)])
    tokens = np.array([len(was) for was in before], dtype=np.float64)
    found: dict[str, Drift] = {}
    for name in (*sorted({one.language for one in texts}), "all"):
        rows = [name in (one.language, "all") for one in texts]
        found[name] = Drift(**dict(mean_interval(lost[rows], tokens[rows])), texts=sum(rows))
    return found


def read_base_texts(texts: Path) -> list[BaseText]:
    """Read the texts that go beyond their first line. Raise ConfigError when there are none."""
    try:
        lines = texts.read_bytes().splitlines()  # as text it would split at U+2028, too, which JSON may hold
        found = [BaseText.model_validate_json(line) for line in lines if line.strip()]
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{texts} cannot be read as JSONL with fields text and language: write it with "
            "`python -m finetune.corpus.sample_replay`."
        ) from error
    written = [one for one in found if one.text.partition("\n")[2].strip()]
    if not written:
        raise ConfigError(f"{texts} has no text longer than its first line: sample longer texts.")
    return written


def _score_with(
    model: str, texts: list[BaseText], settings: EvalSettings, console: Console
) -> list[np.ndarray]:
    options = EngineOptions(kv_cache_gb=settings.kv_cache_gb, max_streams=1, threads=settings.threads)
    engine = open_engine(resolve(model), settings.engine, options)
    try:
        return asyncio.run(log_likelihoods(engine, model, texts, console))
    finally:
        engine.close()


async def log_likelihoods(
    engine: Engine, model: str, texts: list[BaseText], console: Console
) -> list[np.ndarray]:
    """Return log-likelihoods of the tokens after a text's first line; the context limits long texts."""
    found: list[np.ndarray] = []
    with count_progress(f"reading with {model}", len(texts), console) as advance:
        for one in texts:
            text = one.text
            while engine.count_tokens(text) >= engine.info.context_tokens:
                text = text[: len(text) * 3 // 4]
            opening, newline, rest = text.partition("\n")
            found.append(np.array(await engine.score(opening + newline, rest)))
            advance(len(found))
    return found
