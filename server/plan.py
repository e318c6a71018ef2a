"""From a request to what the engine gets: mode, language, token budget, fill-in-the-middle."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from acepilot.completion_cache import CacheKey, whole_text_key
from acepilot.errors import BadRequest
from acepilot.fim import break_special_tokens
from acepilot.languages import language_for
from acepilot.postprocess.context import Context, locate
from acepilot.postprocess.mode import choose_mode
from acepilot.prompt import SENTINEL_TOKENS, ComposedPrompt, compose
from acepilot.protocol import CompletionRequest, Snippet
from acepilot.trail import PromptReport, Trail
from server.engine.base import Engine
from server.prompt_window import Windows
from server.settings import ServerSettings
from server.suffix_choice import ROOM_TOKENS, Gap, gap_of

MIN_PROMPT_TOKENS = 32
"""The least room, in tokens, that `max_tokens` must leave for the prompt: about three lines of code."""

COUNTED_ELSEWHERE = {"prompt", "suffix", "snippets", "mode", "cache_salt"}
WITHOUT_EFFECT = {"model", "stream", "stream_options", "seed"}
"""Fields that the rest of a cache key contains, and fields that change no greedy answer. All others, also
those added later, are part of the key."""


@dataclass(frozen=True)
class RequestPlan:
    """One request, resolved.

    `trail` explains the plan, and later the completion. `context` is None in raw mode: no early stop, no
    filter. An editor's `prompt` is empty when the cursor is at the start of a file and nothing else is known.
    `cache_key` is None if the answer may neither come from the cache nor be kept. `cache_salt` keeps the KV
    cache of the request's client apart. `sequences` is how many the engine must generate: one for each choice
    or, with a `gap`, the drafts to choose from.
    """

    trail: Trail
    context: Context | None
    prompt: str
    report: PromptReport
    cache_key: CacheKey | None
    cache_salt: str
    sequences: int
    gap: Gap | None

    @property
    def prompt_tokens(self) -> int:
        return self.report.prefix_tokens + self.report.suffix_tokens + self.report.snippet_tokens


def plan(
    request: CompletionRequest,
    engine: Engine,
    settings: ServerSettings,
    windows: Windows,
    in_hand: int,
    cache_salt: str,
) -> RequestPlan:
    """Resolve a request while `in_hand` sequences of other requests wait or run.

    Raises BadRequest when a raw prompt is empty, or when `max_tokens` leaves no room for a prompt.
    """
    info = engine.info
    room = info.context_tokens - request.max_tokens - (0 if request.rendered else SENTINEL_TOKENS)
    if room < MIN_PROMPT_TOKENS:
        raise BadRequest(
            f"max_tokens is {request.max_tokens}, which leaves no room for a prompt: {info.model} has a "
            f"context of {info.context_tokens} tokens for prompt and completion together. Ask for fewer.",
            field="max_tokens",
        )
    suffix = request.suffix or ""
    mode = request.asked_mode
    context = None
    language = language_for(request.language, request.path)
    if mode != "raw":
        cursor = locate(request.prompt, suffix, language)
        if mode == "auto":
            mode = choose_mode(cursor)
        context = Context(request.prompt, suffix, language, mode, cursor)
        _ = context.hidden  # found now, in a thread: the event loop will need it

    def within(budget_tokens: int) -> ComposedPrompt:
        return compose(
            request.prompt,
            suffix,
            request.snippets,
            path=request.path or "",
            comment=language.line_comment or "#",
            fim=info.fim,
            special_tokens=() if request.rendered else info.special_tokens,
            budget_tokens=budget_tokens,
            count_tokens=engine.count_tokens,
        )

    if context is None:
        composed = within(room)
    else:
        composed = windows.choose(within, min(room, settings.prompt_budget_tokens), in_hand, cache_salt)
    if not composed.text and context is None:
        raise BadRequest("`prompt` is empty. Send at least one character to complete.", field="prompt")
    gap = _gap(request, composed.text, engine) if settings.suffix_candidates and composed.text else None
    trail = Trail(
        id=f"cmpl-{uuid.uuid4().hex[:24]}",
        model=info.model,
        engine=info.engine,
        language=language.id if context else None,
        mode=mode,
        prompt=composed.report,
        offered_chars=[0] * request.n,
    )
    return RequestPlan(
        trail=trail,
        context=context,
        prompt=composed.text,
        report=composed.report,
        cache_key=_cache_key(request, mode, composed.snippets, cache_salt),
        cache_salt=cache_salt,
        sequences=settings.suffix_candidates if gap else request.n,
        gap=gap,
    )


def _gap(request: CompletionRequest, prompt: str, engine: Engine) -> Gap | None:
    """Return the gap for one greedy completion whose model was not shown the suffix; else None."""
    info, suffix = engine.info, request.suffix or ""
    if info.fim or request.n > 1 or request.temperature or request.rendered or not suffix.strip():
        return None
    if not request.max_tokens or request.logprobs is not None:
        return None
    if info.context_tokens < 2 * request.max_tokens + ROOM_TOKENS:
        return None
    return gap_of(prompt, break_special_tokens(suffix, info.special_tokens), engine.count_tokens)


def _cache_key(
    request: CompletionRequest, mode: str, snippets: Sequence[Snippet], cache_salt: str
) -> CacheKey | None:
    """Return a key that only a request with all that the answer comes from has.

    Snippets that did not fit the prompt do not count: editors send different ones from key to key.
    """
    if mode == "raw" or request.temperature > 0 or request.n > 1 or not request.max_tokens:
        return None
    texts = [(snippet.path, snippet.text) for snippet in snippets]
    counted = (cache_salt, mode, request.model_dump(exclude=COUNTED_ELSEWHERE | WITHOUT_EFFECT), texts)
    salt = hashlib.sha256(json.dumps(counted).encode()).hexdigest()
    return whole_text_key(request.prompt, request.suffix or "", salt)
