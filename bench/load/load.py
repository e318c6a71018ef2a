"""Put load on one server: a number of clients at once, with prompts of a given length that all differ.

A prompt is real code behind a line that no earlier prompt had, so that no cache knows it. Each client sends
one request and waits for its end.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import EventSource
from tokenizers import Tokenizer

from bench.peers.processes import PeerFailed
from bench.peers.servers import Contestant
from bench.sources import SourceFile

NEW_TOKENS = 64
LONGEST_S = 600.0
TAIL = "\nresult = value_total"
"""What a user types between two requests: a known prompt is sent again with this added."""


@dataclass(frozen=True)
class Answer:
    """The figures of one request: seconds to the first token, seconds to the end, and new tokens."""

    first_s: float
    total_s: float
    tokens: int


@dataclass(frozen=True)
class Cell:
    """Medians over clients and rounds. `rate` is all new tokens divided by the time until the last one."""

    prompt_tokens: int
    clients: int
    first_s: float
    total_s: float
    decode_rate: float
    rate: float


class Prompts:
    """Make prompts of a given length. The same seed makes the same prompts, so that contestants get equal
    work.
    """

    def __init__(self, files: Sequence[SourceFile], tokenizer: Tokenizer, seed: int) -> None:
        self._lines = [line for file in files for line in file.text.splitlines(keepends=True)]
        self._tokenizer = tokenizer
        self._chance = random.Random(seed)

    def fresh(self, tokens: int) -> str:
        """Return a prompt of `tokens` tokens, plus or minus one."""
        start = self._chance.randrange(len(self._lines))
        lines = self._lines[start:] + self._lines[:start]
        text = f"{self._chance.getrandbits(64):x}\n" + "".join(lines[: tokens + 1])
        return self._tokenizer.decode(self._tokenizer.encode(text, add_special_tokens=False).ids[:tokens])


class Load:
    """Send requests to one contestant's server."""

    def __init__(self, http: httpx.AsyncClient, contestant: Contestant, model: str) -> None:
        self._http = http
        self._contestant = contestant
        self._body = {"model": model, "temperature": 0, **contestant.extra}

    async def cell(self, prompts: Prompts, prompt_tokens: int, clients: int, rounds: int) -> Cell:
        """Raises PeerFailed."""
        answers: list[Answer] = []
        wall_s = 0.0
        for _ in range(rounds):
            texts = [prompts.fresh(prompt_tokens) for _ in range(clients)]
            firsts = [] if self._contestant.streams else await self._together(texts, 1)
            began = time.perf_counter()
            round_answers = await self._together(texts, NEW_TOKENS)
            wall_s += time.perf_counter() - began
            if firsts:  # without streaming, a request for one token measures the first token
                pairs = zip(firsts, round_answers, strict=True)
                round_answers = [Answer(one.total_s, all.total_s, all.tokens) for one, all in pairs]
            answers += round_answers
        rates = [
            (answer.tokens - 1) / (answer.total_s - answer.first_s)
            for answer in answers
            if answer.tokens > 1 and answer.total_s > answer.first_s
        ]
        return Cell(
            prompt_tokens,
            clients,
            first_s=statistics.median(answer.first_s for answer in answers),
            total_s=statistics.median(answer.total_s for answer in answers),
            decode_rate=statistics.median(rates) if rates else 0.0,
            rate=sum(answer.tokens for answer in answers) / wall_s,
        )

    async def reuse(self, prompts: Prompts, prompt_tokens: int, rounds: int) -> tuple[float, float]:
        """Return the seconds to the first token of a known prompt that has grown by a few words, and of a new
        one.
        """
        cold: list[float] = []
        warm: list[float] = []
        for _ in range(rounds):
            text = prompts.fresh(prompt_tokens)
            new = 4 if self._contestant.streams else 1
            cold.append((await self.ask(text, new)).first_s)
            warm.append((await self.ask(text + TAIL, new)).first_s)
        return statistics.median(warm), statistics.median(cold)

    async def ask(self, prompt: str, max_tokens: int) -> Answer:
        body = {"prompt": prompt, "max_tokens": max_tokens, **self._body}
        began = time.perf_counter()
        try:
            if not self._contestant.streams:
                response = await self._http.post("/v1/completions", json=body, timeout=LONGEST_S)
                response.raise_for_status()
                total_s = time.perf_counter() - began
                return Answer(total_s, total_s, int(response.json()["usage"]["completion_tokens"]))
            return await self._stream(body, began)
        except httpx.HTTPError as error:
            raise PeerFailed(f"{self._contestant.name} failed under load: {error!r}") from error

    async def _stream(self, body: dict[str, Any], began: float) -> Answer:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        first_s, tokens = 0.0, 0
        async with self._http.stream("POST", "/v1/completions", json=body, timeout=LONGEST_S) as response:
            response.raise_for_status()
            async for event in EventSource(response).aiter_sse():
                if not event.data.startswith("{"):  # [DONE]
                    continue
                chunk: dict[str, Any] = event.json()
                if chunk.get("choices") and not first_s:
                    first_s = time.perf_counter() - began
                if usage := chunk.get("usage"):
                    tokens = int(usage["completion_tokens"])
        return Answer(first_s, time.perf_counter() - began, tokens)

    async def _together(self, prompts: Sequence[str], max_tokens: int) -> list[Answer]:
        return list(await asyncio.gather(*(self.ask(prompt, max_tokens) for prompt in prompts)))
