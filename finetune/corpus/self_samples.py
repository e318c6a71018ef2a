"""Replay without old data: the base model's own words, sampled from a server that serves it.

Tuning on one language makes a model forget others; where its first training data is gone, mixing in what it
says by itself keeps much of it (arXiv 2605.26097). Each sample begins with a file's name in a comment, so
that the model writes a file of that language. A model that was taught to chat closes a Markdown fence at the
file's end, and goes on to explain it: there the sample ends.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from acepilot.errors import DownloadFailed
from acepilot.languages import Language
from acepilot.models.manifest import write_atomically

STEMS = (
    *(
        "account",
        "archive",
        "cache",
        "calendar",
        "client",
        "config",
        "cursor",
        "database",
        "editor",
        "export",
    ),
    *("geometry", "graph", "handler", "index", "invoice", "logger", "matrix", "message", "network", "order"),
    *("parser", "payment", "queue", "report", "router", "schedule", "search", "server", "session", "shape"),
    *("sorting", "storage", "table", "text", "token", "tree", "user", "validator", "window", "worker"),
)
FENCE = "\n```"
REQUEST_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class SampleOptions:
    """`count` samples of each language, each up to `max_tokens` tokens; `parallel` requests at a time."""

    count: int
    max_tokens: int
    temperature: float
    parallel: int
    seed: int


async def sample(
    url: str,
    token: str | None,
    languages: list[Language],
    out: Path,
    options: SampleOptions,
    on_progress: Callable[[int], None],
) -> int:
    """Appends to `out` (JSONL of {text, language, seed}) what it still lacks; how many samples it has then.

    In the end they are in the order of seed and language: the same seeds give the same file. `told` hears
    that number as it grows. Raises DownloadFailed when the server does not answer.
    """
    have = _seeds(out)
    wanted = [
        (language, options.seed + turn)
        for turn in range(options.count)
        for language in languages
        if (language.id, options.seed + turn) not in have
    ]
    places = asyncio.Semaphore(options.parallel)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    done = len(have)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=REQUEST_TIMEOUT_S) as client:

        async def one(language: Language, seed: int) -> None:
            nonlocal done
            async with places:
                text = await _one(client, language, seed, options)
            record = {"text": text, "language": language.id, "seed": seed}
            with out.open("a", encoding="utf-8") as file:
                file.write(_line(record))
            done += 1
            on_progress(done)

        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                for language, seed in wanted:
                    tasks.create_task(one(language, seed))
        except* httpx.HTTPError as group:
            why = group.exceptions[0]
            raise DownloadFailed(
                f"{url} does not give samples ({why!r}): start `python -m server --model BASE`, and run this "
                f"again; the {done} samples in {out} are kept."
            ) from None
    _put_in_order(out)
    return done


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


async def _one(client: httpx.AsyncClient, language: Language, seed: int, options: SampleOptions) -> str:
    """A file that the model wrote: its own words behind the comment."""
    body: dict[str, Any] = {
        "prompt": opening(language, seed),
        "mode": "raw",
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_p": 0.95,
        "seed": seed,
        "stop": [FENCE],
    }
    response = await client.post("/v1/completions", json=body)
    response.raise_for_status()
    return body["prompt"] + response.json()["choices"][0]["text"]


def opening(language: Language, seed: int) -> str:
    """A comment with a file's name: what such files often begin with, and all that the model is told."""
    name = random.Random(f"{language.id} {seed}").choice(STEMS) + language.extensions[0]  # noqa: S311
    if language.line_comment:
        tag = "<?php\n" if language.id == "php" else ""
        return f"{tag}{language.line_comment} {name}\n"
    begin, end = language.block_comment or ("", "")
    return f"{begin} {name} {end}".strip() + "\n"


def _put_in_order(out: Path) -> None:
    records = [json.loads(line) for line in out.read_bytes().splitlines()]
    records.sort(key=lambda record: (record["seed"], record["language"]))
    write_atomically(out, "".join(_line(record) for record in records))


def _seeds(out: Path) -> set[tuple[str, int]]:
    """What an earlier run has left. A last line that a kill cut off is taken away."""
    if not out.exists():
        return set()
    lines = out.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    if len(whole) < len(lines):
        out.write_bytes(b"".join(whole))
    records = [json.loads(line) for line in whole]
    return {(record["language"], record["seed"]) for record in records}
