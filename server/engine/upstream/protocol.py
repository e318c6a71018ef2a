"""The requests to OpenAI-style servers, and their answers.

Servers differ in the fields that they add to OpenAI's, in their defaults, and in the fields that they refuse.
The table `EXTRAS` has the fields for each kind of server. The kind is `owned_by` in `/v1/models`.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import BaseModel, ValidationError

from acepilot.errors import ConfigError
from acepilot.untrusted_text import printable
from server.engine.base import GenerationRequest

VLLM = "vllm"

READ_OUT_S = 0.1
"""Seconds to read on after [DONE], while the completion waits. Servers that end the body do so at once."""

EXTRAS: dict[str, dict[str, object]] = {
    # vLLM's defaults come from the model's generation_config.json; Qwen2.5-Coder's penalises repetition.
    # Local engines also put a special token before the prompt if the tokenizer has one, as Llama's does.
    VLLM: {
        "add_special_tokens": True,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    },
    # llama.cpp draws from the 40 most probable tokens by default, and from none below 0.05 of the first.
    "llamacpp": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
    "acepilot": {"mode": "raw", "rendered": True},
}
"""Fields by kind of server. Other servers get none: OpenAI's own refuses fields that it does not know."""

SALTED = (VLLM, "acepilot")
"""Kinds of servers that keep the KV cache apart by `cache_salt`. vLLM refuses an empty one."""

_NOT_OPENAI = "does not stream OpenAI's completions"

_WORD = re.compile(r"[\w.-]{1,64}")


class BadAnswer(Exception):
    """An answer that is not OpenAI's protocol, or an error in it. The text continues a sentence that begins
    with the server, and never quotes the answer: servers put the prompt into their messages."""


@dataclass(frozen=True)
class Served:
    """A server's model for us: its name there, the kind of server, and the context length that it states."""

    name: str
    kind: str
    context_tokens: int | None


@dataclass(frozen=True)
class StreamChunk:
    """One event of a stream. `completion_tokens` counts the whole stream so far, if the server counts."""

    text: str
    finish: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


class _Meta(BaseModel):
    n_ctx: int | None = None


class _Card(BaseModel):
    """`max_model_len` is vLLM's, `context_tokens` Acepilot's, `meta` llama.cpp's."""

    id: str
    owned_by: str = ""
    max_model_len: int | None = None
    context_tokens: int | None = None
    meta: _Meta | None = None


class _Cards(BaseModel):
    data: list[_Card]


class _LogProb(BaseModel):
    logprob: float


class _Choice(BaseModel):
    text: Any = ""  # a str, but pydantic rejects half a character, which servers do send
    finish_reason: str | None = None
    prompt_logprobs: list[dict[str, _LogProb] | None] | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Error(BaseModel):
    type: Any = None
    code: Any = None
    param: Any = None


class _Answer(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | str | None = None


def served_model(document: bytes, ours: str, url: str) -> Served:
    """Return the model in the answer of `/v1/models`: the only one, or the one called `ours`.

    Raises ConfigError if there are several and none is called so, BadAnswer for any other document.
    """
    try:
        cards = _Cards.model_validate_json(document).data
    except ValidationError as error:
        raise BadAnswer("does not list its models at /v1/models as OpenAI does") from error
    if not cards:
        raise BadAnswer("serves no model yet")
    card = cards[0] if len(cards) == 1 else next((card for card in cards if _is_called(card.id, ours)), None)
    if card is None:
        raise ConfigError(
            f"{url} serves several models, and none is called {ours}: "
            f"{printable(', '.join(card.id for card in cards))}. Serve the model under that name (vLLM: "
            f"--served-model-name {ours}), or as the only one."
        )
    lengths = (card.max_model_len, card.context_tokens, card.meta and card.meta.n_ctx)
    return Served(card.id, card.owned_by, next(filter(None, lengths), None))


def _is_called(listed: str, ours: str) -> bool:
    """Compare names: vLLM may list a folder's path, and Ollama adds a tag."""
    return ours in {listed, PurePath(listed).name, listed.removesuffix(":latest")}


def completion_body(served: Served, request: GenerationRequest) -> dict[str, object]:
    """Return the body that asks for a streamed completion."""
    return {
        "model": served.name,
        "prompt": request.prompt,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        **EXTRAS.get(served.kind, {}),
        **_salt(served, request.cache_salt),
    }


def scoring_body(served: Served, token_ids: Sequence[int], cache_salt: str) -> dict[str, object]:
    """Return the body that asks vLLM for the log probability of each token of a prompt."""
    return {
        "model": served.name,
        "prompt": list(token_ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
        **_salt(served, cache_salt),
    }


def _salt(served: Served, cache_salt: str) -> dict[str, object]:
    return {"cache_salt": cache_salt} if cache_salt and served.kind in SALTED else {}


def prompt_log_probs(document: bytes, token_ids: Sequence[int]) -> list[float]:
    """Return the natural-log probabilities of `token_ids`, the prompt's last ones. Raises BadAnswer."""
    try:
        positions = _Answer.model_validate_json(document).choices[0].prompt_logprobs or []
        last = positions[len(positions) - len(token_ids) :]
        return [
            (position or {})[str(token_id)].logprob
            for position, token_id in zip(last, token_ids, strict=True)
        ]
    except (ValidationError, LookupError, ValueError) as error:
        raise BadAnswer("gave no log probabilities of the prompt") from error


async def read_stream(response: httpx.Response) -> AsyncGenerator[StreamChunk, None]:
    """Stream the events until [DONE]. Raises BadAnswer for an error, and if the answer breaks off."""
    finished = False
    async with contextlib.aclosing(EventSource(response).aiter_sse()) as events:
        try:
            async for event in events:
                if event.data == "[DONE]":
                    await _read_out(events)
                    return
                if not event.data:  # a keep-alive: an id, a type or a comment
                    continue
                chunk = _chunk(event.data)
                finished = finished or chunk.finish is not None
                # The first chunk may be empty.
                if chunk.text or chunk.finish or chunk.completion_tokens is not None:
                    yield chunk
        except SSEError as error:
            raise BadAnswer(_NOT_OPENAI) from error
    if not finished:
        raise BadAnswer("broke off in the middle of an answer")


async def _read_out(events: AsyncGenerator[ServerSentEvent, None]) -> None:
    """Read to the end of the body: only then does httpx keep the connection for the next request."""
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(READ_OUT_S):
            async for _ in events:
                pass


def _chunk(data: str) -> StreamChunk:
    try:
        event = _Answer.model_validate(json.loads(data))
    except ValueError as error:
        raise BadAnswer(_NOT_OPENAI) from error
    if event.error is not None:
        raise BadAnswer(f"failed in the middle of an answer{_named(event.error)}")
    choice = event.choices[0] if event.choices else _Choice()
    usage = event.usage or _Usage()
    text = choice.text if isinstance(choice.text, str) else ""
    return StreamChunk(text, choice.finish_reason, usage.prompt_tokens, usage.completion_tokens)


def error_names(document: bytes) -> str:
    """Return the type, code and parameter of an error's body, which are safe to show, or an empty text."""
    try:
        return _named(_Answer.model_validate_json(document).error)
    except ValidationError:
        return ""


def _named(error: _Error | str | None) -> str:
    if not isinstance(error, _Error):
        return ""
    words = [str(word) for word in (error.type, error.code, error.param) if word is not None]
    safe = [word for word in words if _WORD.fullmatch(word)]
    return f" ({', '.join(safe)})" if safe else ""


async def read_whole(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Yield the whole body at once."""
    yield await response.aread()
