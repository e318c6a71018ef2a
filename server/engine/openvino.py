"""The embedded engine on CPU: openvino-genai's continuous batching, a paged KV cache with prefix reuse."""

import contextlib
import threading
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import openvino_genai as genai

from acepilot.errors import ModelBroken
from acepilot.fim import format_for
from acepilot.registry import ModelFolder
from server.engine.base import Delta, EngineInfo, EngineLoad, GenerationRequest
from server.engine.openvino_model import prepared_folder
from server.engine.openvino_steps import StepLoop, last_line

STEP_TOKENS = 256
"""Prompt tokens a step: a long prompt is prefilled in pieces, between which others get their tokens and a
cancelled request goes."""

DEFAULT_CONTEXT_TOKENS = 2048
"""For a model that does not say: the smallest among the models this engine reads."""


class OpenVinoEngine:
    """See `Engine` in base.py.

    `kv_cache_gb` bounds the KV cache, `max_streams` how many sequences share a step, `threads` the cores
    (0: all). Raises ModelBroken when the model cannot be opened.
    """

    def __init__(self, model: ModelFolder, *, kv_cache_gb: int, max_streams: int, threads: int) -> None:
        self._scheduler = genai.SchedulerConfig()
        self._scheduler.cache_size = kv_cache_gb
        self._scheduler.max_num_batched_tokens = STEP_TOKENS
        self._scheduler.max_num_seqs = max_streams
        self._scheduler.enable_prefix_caching = True
        self._properties: dict[str, object] = {"INFERENCE_NUM_THREADS": threads} if threads else {}
        try:
            self._folder = prepared_folder(model)
            pipeline = self._open()
        except RuntimeError as error:
            raise ModelBroken(
                f"OpenVINO cannot open {model.path}: {last_line(error)} "
                "It reads OpenVINO folders, and Llama- and Qwen-family GGUF files."
            ) from error
        self._tokenizer = pipeline.get_tokenizer()
        self._stop_ids = _special_ids(self._tokenizer)
        special_tokens = frozenset(
            self._tokenizer.decode([token_id], skip_special_tokens=False) for token_id in self._stop_ids
        )
        self.info = EngineInfo(
            model=model.name,
            engine="openvino",
            context_tokens=model.manifest.context_tokens if model.manifest else DEFAULT_CONTEXT_TOKENS,
            fim=format_for(special_tokens),
            special_tokens=special_tokens,
        )
        self._steps = StepLoop(pipeline)
        self._scoring_steps: StepLoop | None = None
        self._scoring_lock = threading.Lock()

    def count_tokens(self, text: str) -> int:
        return int(self._encode(text).shape[1])

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        config = self._config(request.max_tokens)
        if request.temperature > 0:
            config.do_sample = True
            config.temperature = request.temperature
            config.top_p = request.top_p
            config.top_k = 2**31 - 1  # off: genai's default of 50 is not what OpenAI's clients expect
            config.rng_seed = request.seed
        async with contextlib.aclosing(self._steps.stream(self._encode(request.prompt), config)) as deltas:
            async for delta, _ in deltas:
                yield delta

    async def score(self, prompt: str, continuation: str) -> list[float]:
        before, after = self._encode(prompt), self._encode(continuation)
        config = self._config(1)
        config.echo = True
        config.logprobs = 1
        log_probs: list[float] = []
        token_ids = np.concatenate([before, after], axis=1)
        async with contextlib.aclosing(self._for_scoring().stream(token_ids, config)) as deltas:
            async for _, stream in deltas:
                log_probs = stream.log_probs
        return log_probs[before.shape[1] : token_ids.shape[1]]

    def load(self) -> EngineLoad:
        return EngineLoad(active=self._steps.active, kv_used_ratio=self._steps.kv_used_ratio)

    def close(self) -> None:
        self._steps.close()
        if self._scoring_steps:
            self._scoring_steps.close()

    def _open(self) -> genai.ContinuousBatchingPipeline:
        return genai.ContinuousBatchingPipeline(
            str(self._folder), self._scheduler, "CPU", self._properties, {}
        )

    def _for_scoring(self) -> StepLoop:
        """A second pipeline without prefix cache, opened at the first call.

        genai gives no log probabilities for prompt tokens that it finds in its cache (seen in 2026.4).
        """
        with self._scoring_lock:
            if self._scoring_steps is None:
                self._scheduler.enable_prefix_caching = False
                self._scoring_steps = StepLoop(self._open())
            return self._scoring_steps

    def _encode(self, text: str) -> Any:
        """int64 [1, tokens]; an empty text has no tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False).input_ids.data.astype(np.int64)

    def _config(self, max_tokens: int) -> genai.GenerationConfig:
        config = genai.GenerationConfig()
        config.max_new_tokens = max_tokens
        config.apply_chat_template = False
        config.stop_token_ids = self._stop_ids
        return config


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
