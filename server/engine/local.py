"""An engine whose model runs in a process of this machine: what `openvino` and `torch` have in common.

This end encodes prompts and is the service's `Engine`; the model is in the worker's process alone, so that a
crash there takes no request of another with it but is answered by a new process.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from acepilot.errors import EngineFailed
from acepilot.fim import format_for
from acepilot.models.registry import ModelFolder
from server.engine.base import Delta, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.scheduler.messages import WorkerProgram
from server.engine.scheduler.schedule import Generate, Score
from server.engine.scheduler.step_loop import StepLoop

GREEDY_BELOW = 0.01
"""Temperatures below are greedy: dividing by them overflows."""

SMALLEST_TOP_P = 0.001

_log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerOptions:
    engine: EngineOptions
    log_level: int


@dataclass(frozen=True)
class AboutModel:
    """What a worker says of an open model. `tokenizer` is whatever this engine's `Encode` is made from."""

    tokenizer: str
    row_tokens: int
    special_tokens: frozenset[str]


class Encode(Protocol):
    """Text to token ids; `begin`: with the mark that a tokenizer puts before a prompt (Llama's does)."""

    def __call__(self, text: str, *, begin: bool) -> list[int]: ...


class LocalEngine:
    """See `Engine` in base.py. `encoder` makes the tokenizer from `AboutModel.tokenizer`.

    Raises ModelBroken when the model does not open.
    """

    def __init__(
        self,
        name: str,
        program: WorkerProgram,
        model: ModelFolder,
        options: EngineOptions,
        encoder: Callable[[str], Encode],
    ) -> None:
        self._program = program
        self._model = model
        self._options = WorkerOptions(options, _log.bind().get_effective_level())
        self._opening = asyncio.Lock()
        self._steps = StepLoop(program, model, self._options)
        about: AboutModel = self._steps.about
        self._encode = encoder(about.tokenizer)
        context_tokens = model.manifest.context_tokens if model.manifest else about.row_tokens
        self.info = EngineInfo(
            model=model.name,
            engine=name,
            context_tokens=min(context_tokens, about.row_tokens),
            fim=format_for(about.special_tokens),
            special_tokens=about.special_tokens,
        )

    def count_tokens(self, text: str) -> int:
        return len(self._encode(text, begin=False))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        is_greedy = request.temperature < GREEDY_BELOW
        task = Generate(
            max_tokens=request.max_tokens,
            temperature=0.0 if is_greedy else request.temperature,
            top_p=max(request.top_p, SMALLEST_TOP_P),
            seed=request.seed,
        )
        token_ids = self._encode(request.prompt, begin=True)
        steps = await self._running()
        async with contextlib.aclosing(steps.stream(token_ids, task)) as stream:
            async for progress in stream:
                yield progress.delta

    async def score(self, prompt: str, continuation: str) -> list[float]:
        before, after = self._encode(prompt, begin=True), self._encode(continuation, begin=False)
        if not before:
            raise EngineFailed("The prompt is empty, and a first token has no probability: give one.")
        if not after:
            return []
        log_probs: list[float] = []
        steps = await self._running()
        async with contextlib.aclosing(steps.stream(before + after, Score(len(after)))) as stream:
            async for progress in stream:
                log_probs.extend(progress.log_probs)
        return log_probs

    def load(self) -> EngineLoad:
        active = self._steps.active
        return EngineLoad(active=active, kv_used_ratio=self._steps.kv_used_ratio if active else 0.0)

    def close(self) -> None:
        self._steps.close()

    async def _running(self) -> StepLoop:
        """The worker; a new one, once for all who wait, where its process has ended by itself."""
        async with self._opening:
            if self._steps.has_ended:
                self._steps = await asyncio.to_thread(StepLoop, self._program, self._model, self._options)
            return self._steps
