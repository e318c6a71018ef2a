"""From a request to what the engine gets: mode, language, budget, fill-in-the-middle."""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Literal

from acepilot.completion_cache import PREFIX_LINES
from acepilot.errors import BadRequest
from acepilot.fim import neutralise
from acepilot.languages import language_for
from acepilot.postprocess.chain import Context, choose_mode
from acepilot.prompt import SENTINEL_TOKENS, ComposedPrompt, FittedPrompt, compose
from acepilot.protocol import CompletionRequest, PromptReport
from server.engine.base import Engine
from server.suffix_choice import ROOM_TOKENS, Gap, gap_of
from server.window import Windows

MIN_PROMPT_TOKENS = 32


@dataclass(frozen=True)
class RequestPlan:
    """One request, resolved. `context` is None in raw mode: no early stop, no filter.

    An editor's `prompt` is empty where the cursor stands at the beginning and nothing else is known.
    `sequences` of the engine are needed: one a choice; or, where there is a `gap`, drafts to choose from.
    """

    mode: Literal["line", "block", "raw"]
    context: Context | None
    language_id: str | None
    prompt: str
    report: PromptReport
    salt: str
    sequences: int
    gap: Gap | None

    @property
    def prompt_tokens(self) -> int:
        return self.report.prefix_tokens + self.report.suffix_tokens + self.report.snippet_tokens


@dataclass(frozen=True)
class Limits:
    """`budget_tokens` of an editor's prompt. `suffix_candidates` drafts are for models that have no use for a
    suffix themselves; 0: one will do."""

    budget_tokens: int
    suffix_candidates: int


def plan(
    request: CompletionRequest, engine: Engine, limits: Limits, windows: Windows, in_hand: int
) -> RequestPlan:
    """`in_hand`: sequences of others that wait or run.

    Raises BadRequest when a raw prompt is empty, or `max_tokens` leaves no room for one in the context.
    """
    info = engine.info
    room = info.context_tokens - request.max_tokens - (0 if request.rendered else SENTINEL_TOKENS)
    if room < MIN_PROMPT_TOKENS:
        raise BadRequest(
            f"max_tokens is {request.max_tokens}, and {info.model} has a context of {info.context_tokens} "
            "tokens for prompt and completion together: ask for fewer.",
            field="max_tokens",
        )
    suffix = request.suffix or ""
    mode = request.asked_mode
    context = None
    language = language_for(request.language, request.path)
    if mode != "raw":
        if mode == "auto":
            mode = choose_mode(request.prompt, suffix, language)
        context = Context(request.prompt, suffix, language, mode)
    within = partial(
        compose,
        request.prompt,
        suffix,
        request.snippets,
        path=request.path or "",
        comment=language.line_comment or "#",
        fim=info.fim,
        special_tokens=() if request.rendered else info.special_tokens,
        count_tokens=engine.count_tokens,
    )
    if context is None:
        composed = within(budget_tokens=room)
    else:
        composed = windows.choose(within, min(room, limits.budget_tokens), in_hand)
    if not composed.text and context is None:
        raise BadRequest("The prompt is empty: the model needs something to go on from.", field="prompt")
    gap = _gap(request, composed, engine) if limits.suffix_candidates and composed.text else None
    return RequestPlan(
        mode=mode,
        context=context,
        language_id=language.id if context else None,
        prompt=composed.text,
        report=_report(composed),
        salt=_salt(request, mode, composed.fitted),
        sequences=limits.suffix_candidates if gap else request.n,
        gap=gap,
    )


def _gap(request: CompletionRequest, composed: ComposedPrompt, engine: Engine) -> Gap | None:
    """Only where one greedy completion is asked for, and the model has not been shown the suffix."""
    info, suffix = engine.info, request.suffix or ""
    if info.fim or request.n > 1 or request.temperature or request.rendered or not suffix.strip():
        return None
    if not request.max_tokens or request.logprobs is not None:
        return None
    if info.context_tokens < 2 * request.max_tokens + ROOM_TOKENS:
        return None
    return gap_of(composed.text, neutralise(suffix, info.special_tokens), engine.count_tokens)


def _report(composed: ComposedPrompt) -> PromptReport:
    fitted = composed.fitted
    return PromptReport(
        prefix_tokens=fitted.prefix_tokens,
        suffix_tokens=fitted.suffix_tokens,
        snippet_tokens=fitted.snippet_tokens,
        snippets_used=len(fitted.snippets),
        clipped=fitted.clipped,
        dropped_chars=fitted.dropped_chars,
        fim=composed.fim.name if composed.fim else None,
    )


def _salt(request: CompletionRequest, mode: str, fitted: FittedPrompt) -> str:
    """What, besides the text around the cursor, makes another answer likely."""
    digest = hashlib.sha256()
    for snippet in fitted.snippets:
        digest.update(f"{snippet.path}\0{snippet.text}\0".encode())
    if request.path is None:  # then only the text can tell one file from another
        digest.update(_far_head(request.prompt).encode())
    fields = (request.language, request.path, request.max_tokens, request.stop, digest.hexdigest())
    return f"{mode}\0{fields!r}"


def _far_head(prompt: str) -> str:
    """The text above the lines that a place is known by; it stays the same while one types in a line."""
    lines = prompt.rsplit("\n", PREFIX_LINES)
    return lines[0] if len(lines) > PREFIX_LINES else ""
