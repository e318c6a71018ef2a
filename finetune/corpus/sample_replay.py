"""Sample replay data from the base model itself, against forgetting: JSONL for `finetune.corpus --replay`.

    python -m server --model BASE &
    python -m finetune.corpus.sample_replay --out data/replay.jsonl --languages python go java --count 200
    python -m finetune.corpus data/vue --out data/corpus --replay data/replay.jsonl --replay-share 0.3

Start the server with the model that will be tuned. After an interruption, the same command continues.

Tuning on one language makes a model forget others. Where the data that it was first trained on is not at
hand, mixing in text that the model generates keeps much of it (arXiv 2605.26097). Each prompt is a comment
with a file's name, so that the model writes a file of that language. A chat model ends the file with a
Markdown fence and then explains it, so the fence is the stop string.
"""

import asyncio
import json
import os
import random
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from acepilot.cli import program, text_console
from acepilot.errors import DownloadFailed
from acepilot.http_answers import limit_answers
from acepilot.languages import LANGUAGES, Language
from acepilot.models.manifest import write_atomically
from acepilot.progress import count_progress

FILE_NAMES = (
    "account", "archive", "cache", "calendar", "client", "config", "cursor", "database", "editor",
    "export", "geometry", "graph", "handler", "index", "invoice", "logger", "matrix", "message",
    "network", "order", "parser", "payment", "queue", "report", "router", "schedule", "search",
    "server", "session", "shape", "sorting", "storage", "table", "text", "token", "tree", "user",
    "validator", "window", "worker",
)  # fmt: skip
FENCE = "\n```"
REQUEST_TIMEOUT_S = 600.0  # a CPU takes minutes for a long sample


@dataclass(frozen=True)
class SampleOptions:
    """`count` samples of each language, of at most `max_tokens` tokens; `parallel` requests at a time."""

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
    """Add the missing samples to `out` (JSONL of {text, language, seed}) and return how many it then has.

    At the end the lines are sorted by seed and language, so the same seeds give the same file. `on_progress`
    receives the number of samples as it grows. Raises DownloadFailed when the server does not answer.
    """
    existing = _read_existing(out)
    missing = [
        (language, options.seed + number)
        for number in range(options.count)
        for language in languages
        if (language.id, options.seed + number) not in existing
    ]
    request_limit = asyncio.Semaphore(options.parallel)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    done = len(existing)
    hooks = limit_answers()
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=REQUEST_TIMEOUT_S, event_hooks=hooks
    ) as client:

        async def add_sample(language: Language, seed: int) -> None:
            nonlocal done
            async with request_limit:
                text = await _generate(client, language, seed, options)
            with out.open("a", encoding="utf-8") as file:
                file.write(_line({"text": text, "language": language.id, "seed": seed}))
            done += 1
            on_progress(done)

        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                for language, seed in missing:
                    tasks.create_task(add_sample(language, seed))
        except* httpx.HTTPError as group:
            raise DownloadFailed(
                f"{url} does not generate samples ({group.exceptions[0]!r}): start `python -m server --model "
                f"BASE`, and run this again; the {done} samples in {out} are kept."
            ) from None
    _sort_lines(out)
    return done


def opening(language: Language, seed: int) -> str:
    """Return the prompt: a comment with a file name, as such files often begin."""
    name = random.Random(f"{language.id} {seed}").choice(FILE_NAMES) + language.extensions[0]  # noqa: S311
    if language.line_comment:
        tag = "<?php\n" if language.id == "php" else ""
        return f"{tag}{language.line_comment} {name}\n"
    begin, end = language.block_comment or ("", "")
    return f"{begin} {name} {end}".strip() + "\n"


async def _generate(client: httpx.AsyncClient, language: Language, seed: int, options: SampleOptions) -> str:
    """Return a file that the model wrote: the opening comment and the generated text."""
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


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _sort_lines(out: Path) -> None:
    records = [json.loads(line) for line in out.read_bytes().split(b"\n") if line]
    records.sort(key=lambda record: (record["seed"], record["language"]))
    write_atomically(out, "".join(_line(record) for record in records))


def _read_existing(out: Path) -> set[tuple[str, int]]:
    """Return (language, seed) of each sample in `out`; remove a last line that a kill cut short."""
    if not out.exists():
        return set()
    *complete, rest = out.read_bytes().split(b"\n")
    if rest:
        out.write_bytes(b"".join(line + b"\n" for line in complete))
    records = [json.loads(line) for line in complete]
    return {(record["language"], record["seed"]) for record in records}


@program(resumes=True)
def main() -> int:
    parser = ArgumentParser(
        prog="python -m finetune.corpus.sample_replay",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="JSONL of {text, language, seed}")
    add("--languages", nargs="+", required=True, choices=sorted(LANGUAGES), metavar="ID")
    add("--count", type=int, default=100, help="samples of each language (default: 100)")
    add("--max-tokens", type=int, default=512, help="tokens of a sample (default: 512)")
    add("--temperature", type=float, default=0.8, help="default: 0.8")
    add("--parallel", type=int, default=8, help="requests at a time (default: 8)")
    add("--seed", type=int, default=1, help="seed of the first sample (default: 1)")
    add("--url", default="http://127.0.0.1:8010", help="the server; its token is read from ACEPILOT_TOKEN")
    given = parser.parse_args()
    options = SampleOptions(given.count, given.max_tokens, given.temperature, given.parallel, given.seed)
    languages = [LANGUAGES[name] for name in given.languages]
    console = text_console(stderr=True)
    with count_progress("sampling", given.count * len(languages), console) as on_progress:
        work = sample(given.url, os.environ.get("ACEPILOT_TOKEN"), languages, given.out, options, on_progress)
        done = asyncio.run(work)
    console.print(f"{done} samples in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
