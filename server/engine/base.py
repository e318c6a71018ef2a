"""What the service asks of any engine; test_engine_conformance.py holds all of them to it.

An engine turns a rendered prompt into text, token by token. It knows no HTTP, no editor and no filter.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from acepilot.fim import FimFormat

Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]

CPU_KV_CACHE_GB = 2


@dataclass(frozen=True)
class EngineOptions:
    """How to run a model; an engine reads what it has a use for.

    `kv_cache_gb` bounds the KV cache (None: `CPU_KV_CACHE_GB`, and on a card what is free beside the
    weights), `max_streams` how many sequences share a step, `threads` the cores (0: all). `dtype` is the
    weights' (`torch` only; auto: what the device does best). `prompt_lookup` drafts tokens from the prompt,
    which changes no greedy output. `upstream`: base URLs of OpenAI-style servers, as one writes them before
    `/v1`.
    """

    kv_cache_gb: int | None = None
    max_streams: int = 16
    threads: int = 0
    dtype: Dtype = "auto"
    prompt_lookup: bool = True
    upstream: tuple[str, ...] = ()
    upstream_token: str | None = None


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says of itself. `special_tokens`: texts that must not come from a user's file."""

    model: str
    engine: str
    context_tokens: int
    fim: FimFormat | None
    special_tokens: frozenset[str]


@dataclass(frozen=True)
class GenerationRequest:
    """One sequence to generate. `temperature` 0 is greedy; then `top_p` and `seed` change nothing."""

    prompt: str
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Delta:
    """New text of a stream. `tokens` were computed for it; `finish` is set on the last one only."""

    text: str
    tokens: int
    finish: Literal["stop", "length"] | None = None


@dataclass(frozen=True)
class EngineLoad:
    """`active` sequences in the engine now; `kv_used_ratio` of its KV cache, 0 to 1."""

    active: int
    kv_used_ratio: float


class Engine(Protocol):
    @property
    def info(self) -> EngineInfo: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of plain text."""
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Streams the continuation of `request.prompt`; sentinels and end marks are never in its text.

        Closing the generator frees its place within one step of the engine. Raises EngineFailed.
        """
        ...

    async def score(self, prompt: str, continuation: str) -> list[float]:
        """Natural-log probability of each token of `continuation` after `prompt`. Raises EngineFailed."""
        ...

    def load(self) -> EngineLoad: ...

    def close(self) -> None:
        """Ends all streams with EngineFailed, and frees the model."""
        ...
