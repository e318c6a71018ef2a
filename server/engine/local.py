"""The base class of engines whose model runs on this machine: `openvino` and `torch`.

The model is in a worker process. `LocalEngine`, in the server's process, encodes prompts and streams what the
worker computes. After a crash of the worker it starts another one, so only the running requests fail.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Protocol

from acepilot.errors import EngineFailed
from acepilot.fim import format_for
from acepilot.models.registry import ModelFolder
from server.engine.base import Delta, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.scheduler.client import WorkerClient
from server.engine.scheduler.messages import Score
from server.engine.scheduler.worker import WorkerProgram


class Encode(Protocol):
    """A function from text to token ids, with `begin` after the mark that some tokenizers prepend."""

    def __call__(self, text: str, *, begin: bool) -> list[int]: ...


class LocalEngine:
    """Implements `Engine` in base.py with the worker process that `program` describes.

    `encoder` makes the tokenizer from what the worker sent as `Opened.tokenizer`. Raises ModelBroken if the
    model cannot be opened.
    """

    def __init__(
        self,
        program: WorkerProgram,
        model: ModelFolder,
        options: EngineOptions,
        encoder: Callable[[str], Encode],
    ) -> None:
        self._start_worker = partial(WorkerClient, program, model, options)
        self._restarting = asyncio.Lock()
        self._worker = self._start_worker()
        opened = self._worker.opened
        self.encode = encoder(opened.tokenizer)
        context_tokens = model.manifest.context_tokens if model.manifest else opened.row_tokens
        self.info = EngineInfo(
            model=model.name,
            engine=program.name,
            context_tokens=min(context_tokens, opened.row_tokens),
            fim=format_for(opened.special_tokens),
            special_tokens=opened.special_tokens,
        )

    def count_tokens(self, text: str) -> int:
        return len(self.encode(text, begin=False))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        token_ids = self.encode(request.prompt, begin=True)
        worker = await self._running_worker()
        with worker.sequence(token_ids, request) as inbox:
            while True:
                delta = (await inbox.get()).delta
                yield delta
                if delta.finish is not None:
                    return

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        before, after = self.encode(prompt, begin=True), self.encode(continuation, begin=False)
        if not before:
            raise EngineFailed("An empty prompt cannot be scored: send at least one token of prompt.")
        if not after:
            return []
        log_probs: list[float] = []
        worker = await self._running_worker()
        with worker.sequence(before + after, Score(len(after), cache_salt)) as inbox:
            while True:
                progress = await inbox.get()
                log_probs += progress.log_probs
                if progress.delta.finish is not None:
                    return log_probs

    def load(self) -> EngineLoad:
        return self._worker.load()

    def close(self) -> None:
        self._worker.close()

    async def _running_worker(self) -> WorkerClient:
        """Return the worker. If its process has ended, start another one, once for all who wait for it."""
        async with self._restarting:
            if self._worker.end_reason:
                self._worker = await asyncio.to_thread(self._start_worker)
            return self._worker
