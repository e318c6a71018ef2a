"""The embedded engine on CPU: openvino-genai's continuous batching, a paged KV cache with prefix reuse."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import openvino_genai as genai

from acepilot.fim import format_for
from acepilot.registry import ModelFolder
from server.engine.base import Delta, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.openvino_worker import PROGRAM, PipelineOptions
from server.engine.step_loop import StepLoop

STEP_TOKENS = 256
"""Prompt tokens a step: a long prompt is prefilled in pieces, between which others get their tokens and a
cancelled request goes."""

DEFAULT_CONTEXT_TOKENS = 2048
"""For a model that does not say: the smallest among the models this engine reads."""

GREEDY_BELOW = 0.01
"""Temperatures below are greedy: dividing by them overflows."""

SMALLEST_TOP_P = 0.001
NO_TOP_K = 2**31 - 1
"""genai's default of 50 is not what OpenAI's clients expect."""


class OpenVinoEngine:
    """See `Engine` in base.py. Raises ModelBroken when the model cannot be opened."""

    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        self._model = model
        self._options = PipelineOptions(
            kv_cache_gb=options.kv_cache_gb,
            step_tokens=STEP_TOKENS,
            max_streams=options.max_streams,
            threads=options.threads,
            prefix_caching=True,
        )
        self._steps = StepLoop(PROGRAM, model, self._options)
        self._scoring_steps: StepLoop | None = None
        self._opening = asyncio.Lock()
        self._tokenizer = genai.Tokenizer(self._steps.about)
        self._stop_ids = _special_ids(self._tokenizer)
        special_tokens = frozenset(
            self._tokenizer.decode([token_id], skip_special_tokens=False) for token_id in self._stop_ids
        )
        context_tokens = model.manifest.context_tokens if model.manifest else DEFAULT_CONTEXT_TOKENS
        self.info = EngineInfo(
            model=model.name,
            engine="openvino",
            context_tokens=min(context_tokens, self._longest_encoding(context_tokens)),
            fim=format_for(special_tokens),
            special_tokens=special_tokens,
        )

    def count_tokens(self, text: str) -> int:
        return len(self._encode(text))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        settings = self._settings(request.max_tokens)
        if request.temperature >= GREEDY_BELOW:
            settings |= {
                "do_sample": True,
                "temperature": request.temperature,
                "top_p": max(request.top_p, SMALLEST_TOP_P),
                "top_k": NO_TOP_K,
                "rng_seed": request.seed,
            }
        if self._steps.has_ended:
            await self._start_again()
        async with contextlib.aclosing(self._steps.stream(self._encode(request.prompt), settings)) as stream:
            async for progress in stream:
                yield progress.delta

    async def score(self, prompt: str, continuation: str) -> list[float]:
        before, after = self._encode(prompt), self._encode(continuation)
        settings = self._settings(1) | {"echo": True, "logprobs": 1}
        log_probs: list[float] = []
        steps = await self._for_scoring()
        async with contextlib.aclosing(steps.stream(before + after, settings)) as stream:
            async for progress in stream:
                log_probs.extend(progress.log_probs)
        return log_probs[len(before) : len(before) + len(after)]

    def load(self) -> EngineLoad:
        return EngineLoad(active=self._steps.active, kv_used_ratio=self._steps.kv_used_ratio)

    def close(self) -> None:
        self._steps.close()
        if self._scoring_steps:
            self._scoring_steps.close()

    async def _start_again(self) -> None:
        """The worker's process has ended by itself (out of memory, say): a new one, once for all who wait."""
        async with self._opening:
            if self._steps.has_ended:
                self._steps = await asyncio.to_thread(StepLoop, PROGRAM, self._model, self._options)

    async def _for_scoring(self) -> StepLoop:
        """A second worker without prefix cache, opened at the first call.

        genai gives no log probabilities for prompt tokens that it finds in its cache (seen in 2026.4).
        """
        async with self._opening:
            if self._scoring_steps is None:
                options = dataclasses.replace(self._options, prefix_caching=False)
                self._scoring_steps = await asyncio.to_thread(StepLoop, PROGRAM, self._model, options)
            return self._scoring_steps

    def _longest_encoding(self, context_tokens: int) -> int:
        """The converted tokenizer silently keeps the last 8,192 tokens only (seen in 2026.4)."""
        return self.count_tokens("a " * (context_tokens + 1))

    def _encode(self, text: str) -> list[int]:
        """Token ids; an empty text has none."""
        return self._tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()

    def _settings(self, max_tokens: int) -> dict[str, Any]:
        """Attributes of genai's GenerationConfig."""
        return {"max_new_tokens": max_tokens, "apply_chat_template": False, "stop_token_ids": self._stop_ids}


def _special_ids(tokenizer: Any) -> set[int]:
    """Ids of tokens that decode to nothing when special tokens are skipped: sentinels and end marks."""
    candidates = [
        index
        for text, index in tokenizer.get_vocab().items()
        if _as_text(text).startswith("<") and _as_text(text).endswith(">")
    ]
    special = {index for index in candidates if tokenizer.decode([index]) == ""}
    return special | {tokenizer.get_eos_token_id()}


def _as_text(token: str | bytes) -> str:
    return token.decode("utf-8", "replace") if isinstance(token, bytes) else token
