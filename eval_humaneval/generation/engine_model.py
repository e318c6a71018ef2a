"""A model that runs in this process, in one of the server's engines."""

import contextlib
import time

from acepilot.prompt import SENTINEL_TOKENS, compose
from eval_humaneval.generation.model import IsComplete, ModelAnswer, SamplingOptions, sample_seed
from eval_humaneval.problems.problem import Problem, truncate
from server.engine.base import Engine, GenerationRequest


class EngineModel:
    """A model in `engine`, without the server. Prompts are composed as the server composes them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.engine = engine.info.engine

    async def complete(
        self, problem: Problem, index: int, sampling: SamplingOptions, is_complete: IsComplete
    ) -> ModelAnswer:
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
                ended = delta.finish == "stop" or is_complete(text)
                if ended:
                    break
        return ModelAnswer(truncate(text, problem.stops), tokens, not ended, time.monotonic() - began)

    async def score(self, problem: Problem, continuation: str) -> list[float] | None:
        """Return None as well for a continuation that leaves no room for a prompt in the engine's context."""
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
