"""The engine on CUDA, and on CPU for models that OpenVINO has no reader for: our own scheduler over torch.

This end encodes, and is the service's `Engine`; torch is imported only in the process of torch_worker.py.
"""

# tokenizers is typed in part
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import structlog

from acepilot.errors import ConfigError, EngineFailed
from acepilot.fim import FORMATS, format_for
from acepilot.registry import ModelFolder
from server.engine.base import Delta, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.messages import WorkerProgram
from server.engine.step_loop import StepLoop
from server.engine.torch_schedule import Generate, Score, StepLimits
from server.engine.torch_worker import ServedModel, serve

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LIBRARIES = ("torch", "transformers", "tokenizers")

CPU_STEP_TOKENS = 256
CUDA_STEP_TOKENS = 512
"""Tokens a step: a long prompt is read in pieces, between which others get their tokens, and a cancelled
request goes."""

CPU_DRAFTS = 16
CUDA_DRAFTS = 128
"""Drafted tokens a step, all sequences together: more than the device verifies for little more than one."""

GREEDY_BELOW = 0.01
"""Temperatures below are greedy: dividing by them overflows."""

SMALLEST_TOP_P = 0.001

_SENTINELS = {text for fim in FORMATS for text in (fim.prefix, fim.suffix, fim.middle, fim.file_separator)}

_log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerOptions:
    engine: EngineOptions
    log_level: int


@dataclass(frozen=True)
class AboutModel:
    """What the worker says of an open model. `tokenizer`: as JSON, so that only it needs transformers."""

    tokenizer: str
    row_tokens: int


def run(pipe: Connection, model: ModelFolder, options: WorkerOptions) -> None:
    """The worker's process."""

    def open_model() -> ServedModel:
        from server.engine.torch_model import open_runner
        from server.engine.torch_weights import best_device

        opened = open_runner(model, options.engine)
        tokenizer: Tokenizer = opened.tokenizer.backend_tokenizer
        on_cuda = best_device().type == "cuda"
        return ServedModel(
            runner=opened.runner,
            decode=tokenizer.decode,
            ends=frozenset({*special_tokens(tokenizer), opened.tokenizer.eos_token_id}),
            limits=StepLimits(
                tokens=CUDA_STEP_TOKENS if on_cuda else CPU_STEP_TOKENS,
                drafts=CUDA_DRAFTS if on_cuda else CPU_DRAFTS,
                streams=options.engine.max_streams,
            ),
            prompt_lookup=options.engine.prompt_lookup,
            about=AboutModel(tokenizer.to_str(), opened.runner.slot_tokens),
        )

    serve(pipe, open_model, options.log_level)


PROGRAM = WorkerProgram(
    "torch", run, "folders as transformers saves them, and Llama- and Qwen-family GGUF files"
)


class TorchEngine:
    """See `Engine` in base.py. Raises ModelBroken when the model does not open, ConfigError without torch."""

    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        missing = [library for library in LIBRARIES if find_spec(library) is None]
        if missing:
            raise ConfigError(
                f"The torch engine needs {' and '.join(missing)}, which this environment lacks: "
                'pip install "acepilot[torch]".'
            )
        from tokenizers import Tokenizer

        self._model = model
        self._options = WorkerOptions(options, _log.bind().get_effective_level())
        self._opening = asyncio.Lock()
        self._steps = StepLoop(PROGRAM, model, self._options)
        about: AboutModel = self._steps.about
        self._tokenizer: Tokenizer = Tokenizer.from_str(about.tokenizer)
        self._tokenizer.no_truncation()  # what a tokenizer was saved with is for training
        self._tokenizer.no_padding()
        specials = frozenset(special_tokens(self._tokenizer).values())
        context_tokens = model.manifest.context_tokens if model.manifest else about.row_tokens
        self.info = EngineInfo(
            model=model.name,
            engine="torch",
            context_tokens=min(context_tokens, about.row_tokens),
            fim=format_for(specials),
            special_tokens=specials,
        )

    def count_tokens(self, text: str) -> int:
        return len(self._encode(text))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        is_greedy = request.temperature < GREEDY_BELOW
        task = Generate(
            max_tokens=request.max_tokens,
            temperature=0.0 if is_greedy else request.temperature,
            top_p=max(request.top_p, SMALLEST_TOP_P),
            seed=request.seed,
        )
        steps = await self._running()
        async with contextlib.aclosing(steps.stream(self._encode_prompt(request.prompt), task)) as stream:
            async for progress in stream:
                yield progress.delta

    async def score(self, prompt: str, continuation: str) -> list[float]:
        before, after = self._encode_prompt(prompt), self._encode(continuation)
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
                self._steps = await asyncio.to_thread(StepLoop, PROGRAM, self._model, self._options)
            return self._steps

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _encode_prompt(self, text: str) -> list[int]:
        """With the begin mark, where a tokenizer puts one (Llama's does)."""
        return self._tokenizer.encode(text, add_special_tokens=True).ids


def special_tokens(tokenizer: "Tokenizer") -> dict[int, str]:
    """Sentinels and end marks, by id. Some models' files do not flag them all as special (Qwen's)."""
    return {
        token_id: token.content
        for token_id, token in tokenizer.get_added_tokens_decoder().items()
        if token.special
        or token.content in _SENTINELS
        or (token.content.startswith("<|") and token.content.endswith("|>"))
    }
