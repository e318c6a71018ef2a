"""Asks a model for completions, in process through an engine or over HTTP: Problem -> Completion.

Both ways see the same prompts and stops. A stream is closed as soon as a stop has come: what would follow is
never used.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import httpx
from pydantic import BaseModel

from acepilot.errors import EngineFailed
from acepilot.prompt import SENTINEL_TOKENS, compose
from eval_humaneval.problems.problem import Problem, truncate
from server.engine.base import Engine, GenerationRequest

HTTP_STOPS = 4
"""OpenAI's own limit on `stop`; the text is cut at all of them here."""
HTTP_TIMEOUT_S = 600
HTTP_BUSY = (429, 503)
HTTP_WAITS_S = (0.2, 1, 3, 10)


IsOver = Callable[[str], bool]


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy. `seed` is that of the run: each sample has its own, made from it."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class ModelAnswer:
    """`text` is cut at the problem's stops. `truncated`: the tokens were used up before a stop came."""

    text: str
    tokens: int
    truncated: bool
    seconds: float


class Model(Protocol):
    """What is asked. `engine` names how it runs, for the results."""

    engine: str

    async def complete(
        self, problem: Problem, index: int, sampling: Sampling, is_over: IsOver | None = None
    ) -> ModelAnswer:
        """Sample number `index` of `problem`. Raises EngineFailed. `is_over` tells of a text whether more is
        of no use; without it a stop of the problem does."""
        ...

    async def score(self, problem: Problem, continuation: str) -> list[float] | None:
        """Natural-log probability of each token of `continuation`; None where the model cannot tell."""
        ...

    async def close(self) -> None: ...


def sample_seed(seed: int, problem_id: str, index: int) -> int:
    """A seed of 31 bits for one sample: the same whatever else is asked, and in whatever order."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class InProcess:
    """A model in one of the server's engines, without the server. `engine` is closed with it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.engine = engine.info.engine

    async def complete(
        self, problem: Problem, index: int, sampling: Sampling, is_over: IsOver | None = None
    ) -> ModelAnswer:
        is_over = is_over or _has_stop(problem)
        request = GenerationRequest(
            prompt=self._prompt(problem, sampling.max_tokens),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sample_seed(sampling.seed, problem.id, index),
        )
        began, text, tokens, ended = time.monotonic(), "", 0, False
        async with contextlib.aclosing(self._engine.generate(request)) as stream:
            async for delta in stream:
                text += delta.text
                tokens += delta.tokens
                ended = delta.finish == "stop" or is_over(text)
                if ended:
                    break
        return ModelAnswer(truncate(text, problem.stops), tokens, not ended, time.monotonic() - began)

    async def score(self, problem: Problem, continuation: str) -> list[float] | None:
        room = self._engine.count_tokens(continuation) + 1
        return await self._engine.score(self._prompt(problem, room), continuation)

    async def close(self) -> None:
        self._engine.close()

    def _prompt(self, problem: Problem, room_tokens: int) -> str:
        """As the server would show it to the model, with room for `room_tokens` more in the context."""
        info = self._engine.info
        return compose(
            problem.prompt,
            problem.suffix,
            fim=info.fim,
            special_tokens=info.special_tokens,
            budget_tokens=info.context_tokens - room_tokens - SENTINEL_TOKENS,
            count_tokens=self._engine.count_tokens,
        ).text


class _Choice(BaseModel):
    text: str
    finish_reason: str | None = None


class _Usage(BaseModel):
    completion_tokens: int = 0


class _Answer(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


class OverHttp:
    """A model behind any OpenAI-style server at `url`, which ends before `/v1`."""

    engine = "http"

    def __init__(self, url: str, model: str, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"), headers=headers, timeout=HTTP_TIMEOUT_S, trust_env=False
        )
        self._model = model

    async def complete(
        self, problem: Problem, index: int, sampling: Sampling, is_over: IsOver | None = None
    ) -> ModelAnswer:
        is_over = is_over or _has_stop(problem)
        body: dict[str, object] = {
            "model": self._model,
            "prompt": problem.prompt,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sample_seed(sampling.seed, problem.id, index),
            "stop": list(problem.stops[:HTTP_STOPS]),
        }
        if problem.suffix:
            body["suffix"] = problem.suffix
        began = time.monotonic()
        answer = await self._ask(body)
        choice = answer.choices[0]
        ended = choice.finish_reason != "length" or is_over(choice.text)
        tokens = answer.usage.completion_tokens if answer.usage else 0
        return ModelAnswer(truncate(choice.text, problem.stops), tokens, not ended, time.monotonic() - began)

    async def score(self, problem: Problem, continuation: str) -> list[float] | None:
        """OpenAI's protocol has no way to ask for it."""
        return None

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, body: dict[str, object]) -> _Answer:
        where = self._client.base_url.join("v1/completions")
        response = await self._post(body, f"{where}")
        if not response.is_success:
            raise EngineFailed(f"{where} answered {response.status_code}: {response.text[:300]}")
        try:
            # A token can be half a character: servers send that as a lone surrogate, which no file takes.
            whole = json.dumps(response.json(), ensure_ascii=False).encode(errors="replace")
            answer = _Answer.model_validate_json(whole)
        except ValueError as error:  # its text would quote the completion
            raise EngineFailed(f"{where} does not speak OpenAI's completions.") from error
        if not answer.choices:
            raise EngineFailed(f"{where} gave no choice.")
        return answer

    async def _post(self, body: dict[str, object], where: str) -> httpx.Response:
        """Waits and asks again where the server is busy or the connection broke."""
        for wait_s in HTTP_WAITS_S:
            with contextlib.suppress(httpx.TransportError):
                response = await self._client.post("/v1/completions", json=body)
                if response.status_code not in HTTP_BUSY:
                    return response
            await asyncio.sleep(wait_s)
        try:
            return await self._client.post("/v1/completions", json=body)
        except httpx.TransportError as error:
            raise EngineFailed(f"{where} does not answer: {error!r}. Is the server up?") from error


def _has_stop(problem: Problem) -> IsOver:
    return lambda text: any(stop in text for stop in problem.stops)
