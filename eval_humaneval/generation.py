"""Ask a model for completions, through an engine in this process or over HTTP: Problem -> ModelAnswer.

Both kinds of model have the same methods, and `engine`: what runs them, for the results.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from pydantic import BaseModel

from acepilot.errors import EngineFailed
from acepilot.http_answers import limit_answers, no_cookies
from acepilot.prompt import SENTINEL_TOKENS, compose
from acepilot.untrusted_text import printable
from eval_humaneval.problems.problem import Problem, truncate
from eval_humaneval.settings import EvalSettings
from server.engine.base import Engine, GenerationRequest

MAX_STOPS = 4
"""OpenAI's limit on `stop`. The completion is cut at all of the problem's stops when it arrives."""
TIMEOUT_S = 600
"""For one answer: a busy CPU server may need minutes for a long completion."""
BUSY_STATUSES = (429, 503)
RETRY_DELAYS_S = (0.2, 1, 3, 10)
"""Waits before the retries when the server is busy or the connection broke; 14 s in all."""

IsComplete = Callable[[str], bool]
"""Return True when more text after this completion would never be used."""


@dataclass(frozen=True)
class ModelAnswer:
    """`text` is cut at the problem's stops. `truncated`: max_tokens were used up before a stop came."""

    text: str
    tokens: int
    truncated: bool
    seconds: float


def sample_seed(seed: int, problem_id: str, index: int) -> int:
    """Return a 31-bit seed for one sample, independent of the other samples and their order."""
    digest = hashlib.sha256(f"{seed}\0{problem_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class EngineModel:
    """A model in `engine`, without the server. Prompts are composed as the server composes them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.engine = engine.info.engine

    async def complete(
        self, problem: Problem, index: int, settings: EvalSettings, is_complete: IsComplete
    ) -> ModelAnswer:
        """Return sample number `index` of `problem`. Raise EngineFailed."""
        request = GenerationRequest(
            prompt=self._prompt(problem, settings.max_tokens),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=sample_seed(settings.seed, problem.id, index),
        )
        began, text, tokens, ended = time.monotonic(), "", 0, False
        async with contextlib.aclosing(self._engine.generate(request)) as stream:
            async for delta in stream:
                text += delta.text
                tokens += delta.tokens
                ended = delta.finish == "stop" or is_complete(text)
                if ended:
                    break
        return ModelAnswer(truncate(text, problem.stops), tokens, not ended, time.monotonic() - began)

    async def score(self, problem: Problem, continuation: str) -> list[float] | None:
        """Return the natural-log probability of each token of `continuation`; None if the engine has none, or
        if it leaves no room for a prompt in the engine's context."""
        reserved = self._engine.count_tokens(continuation) + 1
        if reserved + SENTINEL_TOKENS >= self._engine.info.context_tokens:
            return None
        return await self._engine.score(self._prompt(problem, reserved), continuation)

    async def close(self) -> None:
        """Close the engine as well."""
        self._engine.close()

    def _prompt(self, problem: Problem, reserved_tokens: int) -> str:
        """Return the prompt that leaves `reserved_tokens` of the context free."""
        info = self._engine.info
        return compose(
            problem.prompt,
            problem.suffix,
            fim=info.fim,
            special_tokens=info.special_tokens,
            budget_tokens=info.context_tokens - reserved_tokens - SENTINEL_TOKENS,
            count_tokens=self._engine.count_tokens,
        ).text


class _Choice(BaseModel):
    text: str
    finish_reason: str | None = None


class _Usage(BaseModel):
    completion_tokens: int = 0


class _Response(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


class HttpModel:
    """A model at `url`, which ends before `/v1`."""

    engine = "http"

    def __init__(self, url: str, model: str, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers=headers,
            timeout=TIMEOUT_S,
            trust_env=False,
            event_hooks=limit_answers(),
            cookies=no_cookies(),
        )
        self._model = model

    async def complete(
        self, problem: Problem, index: int, settings: EvalSettings, is_complete: IsComplete
    ) -> ModelAnswer:
        body: dict[str, object] = {
            "model": self._model,
            "prompt": problem.prompt,
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": sample_seed(settings.seed, problem.id, index),
            "stop": list(problem.stops[:MAX_STOPS]),
        }
        if problem.suffix:
            body["suffix"] = problem.suffix
        began = time.monotonic()
        response = await self._request(body)
        choice = response.choices[0]
        ended = choice.finish_reason != "length" or is_complete(choice.text)
        tokens = response.usage.completion_tokens if response.usage else 0
        return ModelAnswer(truncate(choice.text, problem.stops), tokens, not ended, time.monotonic() - began)

    async def score(self, problem: Problem, continuation: str) -> list[float] | None:
        """Return None: OpenAI's protocol has no request for it."""
        return None

    async def close(self) -> None:
        await self._client.aclose()

    async def _request(self, body: dict[str, object]) -> _Response:
        where = self._client.base_url.join("v1/completions")
        response = await self._post(body, f"{where}")
        if not response.is_success:
            raise EngineFailed(f"{where} answered {response.status_code}: {printable(response.text)}")
        try:
            # A token can be half a character. Servers send it as a lone surrogate, which no file can hold.
            encodable = json.dumps(response.json(), ensure_ascii=False).encode(errors="replace")
            parsed = _Response.model_validate_json(encodable)
        except ValueError as error:  # its text would quote the completion
            raise EngineFailed(
                f"The answer of {where} is not in the format of OpenAI's completions. Check --server-url."
            ) from error
        if not parsed.choices:
            raise EngineFailed(f"The answer of {where} holds no choice. Check the server's log.")
        return parsed

    async def _post(self, body: dict[str, object], where: str) -> httpx.Response:
        """Post, and retry after RETRY_DELAYS_S while the server is busy or the connection breaks."""
        for delay_s in RETRY_DELAYS_S:
            with contextlib.suppress(httpx.TransportError):
                response = await self._client.post("/v1/completions", json=body)
                if response.status_code not in BUSY_STATUSES:
                    return response
            await asyncio.sleep(delay_s)
        try:
            return await self._client.post("/v1/completions", json=body)
        except httpx.TransportError as error:
            raise EngineFailed(f"{where} does not answer: {error!r}. Check that the server runs.") from error


Model = EngineModel | HttpModel
