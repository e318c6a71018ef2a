"""The engine for models that run elsewhere: vLLM, llama.cpp's server, Ollama, another Acepilot, over HTTP.

The tokenizer is read here, from the model's own folder; the weights are not. What the servers get wrong
(sentinels in the text, half characters, no count of tokens, no reason for the end) is put right here.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import urlsplit

import structlog

from acepilot.errors import ConfigError, EngineFailed
from acepilot.fim import format_for
from acepilot.models.registry import ModelFolder
from server.engine.base import Delta, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.upstream.protocol import (
    VLLM,
    BadAnswer,
    Served,
    StreamChunk,
    completion_body,
    prompt_log_probs,
    read_stream,
    read_whole,
    scoring_body,
)
from server.engine.upstream.replicas import Replicas
from server.engine.upstream.text import CleanText
from server.engine.upstream.thread import LoopThread
from server.engine.upstream.tokenizer import FolderTokenizer

DEFAULT_CONTEXT_TOKENS = 2048
"""Where neither the folder nor a server says: the smallest among the models in use."""

PROMPT_SLACK_TOKENS = 8
"""What a server may count more in a prompt than we do: the mark before it, another split at a sentinel."""

FAILED_ENDS = ("abort", "error")
"""vLLM's reasons for an end that was none of the model's."""

_log = structlog.get_logger()


class UpstreamEngine:
    """See `Engine` in base.py. Opening raises ConfigError, ModelBroken, and ServerNotReady while no server
    answers: try again later.

    `generate` also raises ServerNotReady (none can be reached) and Overloaded (their queues are full).
    `load().kv_used_ratio` is 0: the servers' own metrics have it.
    """

    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        urls = _checked(options.upstream)
        self._thread = LoopThread("upstream")
        self._replicas = Replicas(urls, model.name, options.upstream_token)
        try:
            self._thread.run(self._replicas.open())
            self._tokenizer = FolderTokenizer(model)
        except BaseException:
            self.close()
            raise
        self._compared = False
        told = [served.context_tokens for served in self._replicas.served]
        known = [tokens for tokens in (*told, self._tokenizer.context_tokens) if tokens]
        self.info = EngineInfo(
            model=model.name,
            engine="upstream",
            context_tokens=min(known, default=DEFAULT_CONTEXT_TOKENS),
            fim=format_for(self._tokenizer.special_tokens),
            special_tokens=self._tokenizer.special_tokens,
        )

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, begin=False))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        async with aclosing(self._thread.stream(self._deltas(request))) as deltas:
            async for delta in deltas:
                yield delta

    async def score(self, prompt: str, continuation: str) -> list[float]:
        """Needs vLLM, and takes a place in its queue."""
        before = self._tokenizer.encode(prompt, begin=True)
        after = self._tokenizer.encode(continuation, begin=False)
        if not before:
            raise EngineFailed("The prompt is empty, and a first token has no probability: give one.")
        if not after:
            return []

        def body(served: Served) -> dict[str, object]:
            if served.kind != VLLM:
                raise EngineFailed(
                    f"Only vLLM tells the log probabilities of a given text, and another server runs "
                    f"{served.name}: score with the engine torch or openvino."
                )
            return scoring_body(served, before + after)

        async with aclosing(self._thread.stream(self._replicas.stream(prompt, body, read_whole))) as answers:
            async for answer in answers:
                try:
                    return prompt_log_probs(answer, after)
                except BadAnswer as error:
                    raise EngineFailed(f"The upstream server {error}.") from error
        raise EngineFailed("The upstream server gave no answer.")

    def load(self) -> EngineLoad:
        return EngineLoad(active=self._replicas.active, kv_used_ratio=0.0)

    def close(self) -> None:
        self._thread.close(self._replicas.close)

    async def _deltas(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """In the engine's own loop."""
        if not request.prompt:
            raise EngineFailed("The prompt is empty, and the model needs something to go on from.")
        text = CleanText(self.info.special_tokens)
        counted = 0
        finish: str | None = None

        def body(served: Served) -> dict[str, object]:
            return completion_body(served, request)

        async with aclosing(self._replicas.stream(request.prompt, body, read_stream)) as chunks:
            async for chunk in chunks:
                self._compare_prompts(request.prompt, chunk.prompt_tokens)
                fresh = text.feed(chunk.text)
                tokens = self._new_tokens(chunk, fresh, request.max_tokens - counted, counted)
                counted += tokens
                finish = "stop" if text.ended else chunk.finish or finish
                if finish in FAILED_ENDS:
                    raise EngineFailed(f"The upstream server gave up ({finish}). Its own log says more.")
                if fresh or tokens:
                    yield Delta(fresh, tokens)
                if text.ended:
                    break
        at_limit = finish == "length" or (finish is None and counted >= request.max_tokens)
        yield Delta(text.rest(), 0, "length" if at_limit else "stop")

    def _new_tokens(self, chunk: StreamChunk, fresh: str, room: int, counted: int) -> int:
        """Tokens since those `counted`: as the server tells, else as many as the fresh text has."""
        if chunk.completion_tokens is not None:
            return max(0, chunk.completion_tokens - counted)
        return min(self.count_tokens(fresh), room)

    def _compare_prompts(self, prompt: str, theirs: int | None) -> None:
        """Tells once of a server that puts something around prompts: completions are then bad for no reason
        that anybody sees."""
        if theirs is None or self._compared:
            return
        self._compared = True
        ours = self.count_tokens(prompt)
        if theirs > ours + PROMPT_SLACK_TOKENS:
            _log.warning(
                "upstream_prompt_differs",
                ours_tokens=ours,
                theirs_tokens=theirs,
                why="another tokenizer, or a chat template around every prompt: see docs/upstream.md",
            )


def _checked(urls: tuple[str, ...]) -> tuple[str, ...]:
    """Base URLs without `/v1`, each once. Raises ConfigError."""
    if not urls:
        raise ConfigError(
            "The engine upstream needs the servers' addresses: --upstream http://gpu1:8000,http://gpu2:8000"
        )
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"`{url}` is no upstream server: write http://HOST:PORT.")
        if parts.username or parts.password:
            raise ConfigError(
                f"Leave the password out of {parts.hostname}'s URL: set ACEPILOT_UPSTREAM_TOKEN."
            )
    return tuple(dict.fromkeys(url.rstrip("/").removesuffix("/v1") for url in urls))
