"""The base class of engines whose model runs on this machine: `openvino` and `torch`.

The model is in a worker process. `LocalEngine`, in the server's process, encodes prompts and streams what the
worker computes. After a crash of the worker another one is started, so only the requests until then fail.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Protocol

import structlog

from acepilot.errors import EngineFailed
from acepilot.fim import format_for
from acepilot.models.registry import ModelFolder
from acepilot.models.served_files import check_served_files
from server.engine.base import Delta, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.scheduler.client import WorkerClient
from server.engine.scheduler.limits import WorkerLimits
from server.engine.scheduler.messages import Score
from server.engine.scheduler.supervisor import Supervisor
from server.engine.scheduler.worker import WorkerProgram


class Encode(Protocol):
    """A function from text to token ids, with `begin` after the mark that some tokenizers prepend."""

    def __call__(self, text: str, *, begin: bool) -> list[int]: ...


DEFAULT_LIMITS = WorkerLimits()

_log = structlog.get_logger()


class LocalEngine:
    """Implements `Engine` in base.py with the worker process that `program` describes.

    `encoder` makes the tokenizer from what the worker sent as `Opened.tokenizer`. Raises ModelBroken if the
    model cannot be opened, or its files are not those of its promotion or manifest. While no worker can take
    requests, they raise ServerNotReady.
    """

    def __init__(
        self,
        program: WorkerProgram,
        model: ModelFolder,
        options: EngineOptions,
        encoder: Callable[[str], Encode],
        limits: WorkerLimits = DEFAULT_LIMITS,
    ) -> None:
        def start() -> WorkerClient:
            check_served_files(model, _say_how_long)  # also at a restart: the files may have changed since
            return WorkerClient(program, model, options, limits)

        self._supervisor = Supervisor(start, limits)
        opened = self._supervisor.opened
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
        token_ids = await asyncio.to_thread(self.encode, request.prompt, begin=True)
        with self._supervisor.worker.sequence(token_ids, request) as inbox:
            while True:
                delta = (await inbox.get()).delta
                yield delta
                if delta.finish is not None:
                    return

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        before = await asyncio.to_thread(self.encode, prompt, begin=True)
        after = await asyncio.to_thread(self.encode, continuation, begin=False)
        if not before:
            raise EngineFailed("An empty prompt cannot be scored: send at least one token of prompt.")
        if not after:
            return []
        log_probs: list[float] = []
        with self._supervisor.worker.sequence(before + after, Score(len(after), cache_salt)) as inbox:
            while True:
                progress = await inbox.get()
                log_probs += progress.log_probs
                if progress.delta.finish is not None:
                    return log_probs

    def load(self) -> EngineLoad:
        return replace(self._supervisor.load(), trouble=self._supervisor.trouble)

    def close(self) -> None:
        self._supervisor.close()


def _say_how_long(bytes_to_read: int) -> None:
    _log.info("model_files_are_hashed", gb=round(bytes_to_read / 1e9, 2), takes="about a second a GB, once")
