"""The interface that the service expects of every engine; test_engine_conformance.py tests each of them.

An engine turns a rendered prompt into text, token by token. It knows nothing of HTTP, editors or filters.

docs/how-to-add/engine.md has the steps to add one. An engine whose model runs on this machine can derive from
`LocalEngine` in local.py.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from acepilot.fim import FimFormat

Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]

CPU_KV_CACHE_GB = 2
"""GB for the KV cache on a CPU when nothing is set: its memory is shared with the developer's programs."""

CLIENT_CHARS = 32
"""Characters at the beginning of a `cache_salt` that name its client."""


@dataclass(frozen=True)
class EngineOptions:
    """How to run a model; each engine reads the options that apply to it.

    - `kv_cache_gb` limits the KV cache. None means `CPU_KV_CACHE_GB` on a CPU, and on a GPU all memory
      that the weights leave free.
    - `max_streams` is the number of sequences that may share a step.
    - `threads` is the number of CPU cores to use; 0 means all.
    - `dtype` is the type of the weights (`torch` only); `auto` is the fastest for the device.
    - `prompt_lookup` drafts tokens from the prompt. It changes no greedy output.
    - `prefix_cache` starts a prompt from the KV cache of an earlier prompt with the same beginning and the
      same `cache_salt`.
    - `upstream` has the base URLs of OpenAI-style servers, without `/v1`.
    """

    kv_cache_gb: int | None = None
    max_streams: int = 16
    threads: int = 0
    dtype: Dtype = "auto"
    prompt_lookup: bool = True
    prefix_cache: bool = True
    upstream: tuple[str, ...] = ()
    upstream_token: str | None = None


@dataclass(frozen=True)
class EngineInfo:
    """An open engine's model and abilities. Prompts must not take `special_tokens` from a user's file."""

    model: str
    engine: str
    context_tokens: int
    fim: FimFormat | None
    special_tokens: frozenset[str]


@dataclass(frozen=True)
class GenerationRequest:
    """One sequence to generate. With `temperature` 0 it is greedy, and `top_p` and `seed` have no effect.

    Only sequences with an equal `cache_salt` reuse each other's KV cache. Its first CLIENT_CHARS characters
    name the client: salts of one client share its part of the cache.
    """

    prompt: str
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    cache_salt: str = ""


@dataclass(frozen=True)
class Delta:
    """New text of a stream, and the number of tokens that it took. Only the last delta has a `finish`."""

    text: str
    tokens: int
    finish: Literal["stop", "length"] | None = None


@dataclass
class TokenCounts:
    """What a local engine's worker process has computed since it started.

    `sequences` were started; of their `prompt_tokens`, `reused_tokens` were in the KV cache already.
    `computed_tokens` went through the model. `drafted_tokens` of them were drafts, and `accepted_tokens` of
    the drafts were right.
    """

    sequences: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    computed_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True)
class EngineLoad:
    """The number of `active` sequences, the used share of the KV cache (0 to 1), and what was computed.

    `trouble` says why requests fail at the moment; it is empty while the engine takes requests.
    """

    active: int
    kv_used_ratio: float
    counts: TokenCounts = field(default_factory=TokenCounts)
    trouble: str = ""


class Engine(Protocol):
    @property
    def info(self) -> EngineInfo: ...

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text without a prompt's marks."""
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Stream the continuation of `request.prompt`, without special tokens in its text.

        Closing the generator frees its place within one step of the engine. Raises EngineFailed.
        """
        ...

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        """Return the natural-log probability of each token of `continuation` after `prompt`.

        `cache_salt` is that of a GenerationRequest. Raises EngineFailed.
        """
        ...

    def load(self) -> EngineLoad: ...

    def close(self) -> None:
        """End all streams with EngineFailed, and free the model."""
        ...
