"""The engine for models that run elsewhere: in vLLM, llama.cpp's server, Ollama or another Acepilot.

The tokenizer is read from the model's folder on this machine; the weights are not needed. What servers get
wrong is corrected here: sentinels in the text, half characters, missing token counts, no reason for the end.
"""

from collections.abc import AsyncGenerator
from functools import partial
from urllib.parse import urlsplit

import structlog

from acepilot.errors import ConfigError, EngineFailed
from acepilot.fim import format_for
from acepilot.models.registry import ModelFolder
from acepilot.untrusted_text import printable
from server.engine.base import Delta, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.upstream import protocol
from server.engine.upstream.replica import TimeLimits
from server.engine.upstream.replicas import Replicas
from server.engine.upstream.text import CleanText
from server.engine.upstream.thread import LoopThread
from server.engine.upstream.tokenizer import FolderTokenizer

DEFAULT_CONTEXT_TOKENS = 2048
"""The context length if neither the folder nor a server states it: the smallest of the models in use."""

PROMPT_SLACK_TOKENS = 8
"""Tokens by which a server's count may exceed ours: for a mark before the prompt, and split sentinels."""

FAILED_ENDS = ("abort", "error")
"""vLLM's finish reasons for an end that the model did not choose."""

_log = structlog.get_logger()


class UpstreamEngine:
    """Implements `Engine` in base.py with servers elsewhere.

    Opening raises ConfigError, ModelBroken, and ServerNotReady while no server answers: then try again later.
    `generate` also raises ServerNotReady if no server can be reached, Overloaded if their queues are full.
    `load().kv_used_ratio` is 0: see the servers' own metrics.
    """

    def __init__(self, model: ModelFolder, options: EngineOptions, limits: TimeLimits | None = None) -> None:
        urls = _checked(options.upstream)
        self._thread = LoopThread("upstream")
        self._replicas = Replicas(urls, model.name, options.upstream_token, limits or TimeLimits())
        try:
            self._thread.run(self._replicas.open())
            self._tokenizer = FolderTokenizer(model)
        except BaseException:
            self.close()
            raise
        self._compared = False
        of_servers = [served.context_tokens for served in self._replicas.served]
        known = [tokens for tokens in (*of_servers, self._tokenizer.context_tokens) if tokens]
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
        if not request.prompt:
            raise EngineFailed("The prompt is empty: send at least one character of prompt.")
        text = CleanText(self.info.special_tokens)
        counted = 0
        finish: str | None = None
        body = partial(protocol.completion_body, request=request)
        beginning = request.cache_salt + request.prompt
        work = partial(self._replicas.request, beginning, body, protocol.read_stream)
        with self._thread.receive(work) as inbox:
            while not text.ended and (chunk := await inbox.get()) is not None:
                self._compare_prompts(request.prompt, chunk.prompt_tokens)
                new_text = text.feed(chunk.text)
                if chunk.completion_tokens is None:  # the server does not count
                    tokens = min(self.count_tokens(new_text), request.max_tokens - counted)
                else:
                    tokens = max(0, chunk.completion_tokens - counted)
                counted += tokens
                finish = "stop" if text.ended else chunk.finish or finish
                if finish in FAILED_ENDS:
                    raise EngineFailed(f"The upstream server stopped early ({finish}). See its own log.")
                if new_text or tokens:
                    yield Delta(new_text, tokens)
        at_limit = finish == "length" or (finish is None and counted >= request.max_tokens)
        yield Delta(text.rest(), 0, "length" if at_limit else "stop")

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        """Implement `Engine.score` with vLLM, where scoring takes a place in the queue."""
        before = self._tokenizer.encode(prompt, begin=True)
        after = self._tokenizer.encode(continuation, begin=False)
        if not before:
            raise EngineFailed("An empty prompt cannot be scored: send at least one token of prompt.")
        if not after:
            return []

        def body(served: protocol.Served) -> dict[str, object]:
            if served.kind != protocol.VLLM:
                raise EngineFailed(
                    f"Only vLLM returns the log probabilities of a given text, and another server runs "
                    f"{printable(served.name)}: score with the engine torch or openvino."
                )
            return protocol.scoring_body(served, before + after, cache_salt)

        work = partial(self._replicas.request, cache_salt + prompt, body, protocol.read_whole)
        with self._thread.receive(work) as inbox:
            answer = await inbox.get()
        try:
            return protocol.prompt_log_probs(answer or b"", after)
        except protocol.BadAnswer as error:
            raise EngineFailed(f"The upstream server {error}.") from error

    def load(self) -> EngineLoad:
        return EngineLoad(self._replicas.active, kv_used_ratio=0.0, trouble=self._replicas.trouble)

    def close(self) -> None:
        self._thread.close(self._replicas.close)

    def _compare_prompts(self, prompt: str, server_tokens: int | None) -> None:
        """Warn once about a server that puts something around prompts, which makes completions bad."""
        if server_tokens is None or self._compared:
            return
        self._compared = True
        our_tokens = self.count_tokens(prompt)
        if server_tokens > our_tokens + PROMPT_SLACK_TOKENS:
            _log.warning(
                "upstream_prompt_differs",
                ours_tokens=our_tokens,
                theirs_tokens=server_tokens,
                why="another tokenizer, or a chat template around every prompt: see docs/upstream.md",
            )


def _checked(urls: tuple[str, ...]) -> tuple[str, ...]:
    """Return the base URLs without `/v1`, each once. Raises ConfigError."""
    if not urls:
        raise ConfigError(
            "The engine upstream needs the servers' addresses: --upstream http://gpu1:8000,http://gpu2:8000"
        )
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"`{url}` is not the address of an upstream server: write http://HOST:PORT.")
        if parts.username or parts.password:
            raise ConfigError(
                f"Leave the password out of {parts.hostname}'s URL: set ACEPILOT_UPSTREAM_TOKEN."
            )
    return tuple(dict.fromkeys(url.rstrip("/").removesuffix("/v1") for url in urls))
