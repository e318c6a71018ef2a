"""From a request to what the engine gets: mode, language, budget, fill-in-the-middle."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from acepilot import fim, prompt
from acepilot.completion_cache import PREFIX_LINES
from acepilot.errors import BadRequest
from acepilot.languages import language_for
from acepilot.postprocess.chain import Context, choose_mode
from acepilot.prompt import FittedPrompt
from acepilot.protocol import CompletionRequest, PromptReport, Snippet
from server.engine.base import Engine

SENTINEL_TOKENS = 16
"""Room for the sentinels and a path around a prompt."""

MIN_PROMPT_TOKENS = 32


@dataclass(frozen=True)
class Plan:
    """One request, resolved. `context` is None in raw mode: no early stop, no filter."""

    mode: Literal["line", "block", "raw"]
    context: Context | None
    language_id: str | None
    prompt: str
    report: PromptReport
    salt: str

    @property
    def prompt_tokens(self) -> int:
        return self.report.prefix_tokens + self.report.suffix_tokens + self.report.snippet_tokens


def plan(request: CompletionRequest, engine: Engine, budget_tokens: int) -> Plan:
    """Raises BadRequest when the prompt is empty, or `max_tokens` leaves no room for it in the context."""
    info = engine.info
    room = info.context_tokens - request.max_tokens - SENTINEL_TOKENS
    if room < MIN_PROMPT_TOKENS:
        raise BadRequest(
            f"max_tokens is {request.max_tokens}, and {info.model} has a context of {info.context_tokens} "
            "tokens for prompt and completion together: ask for fewer.",
            field="max_tokens",
        )
    suffix = request.suffix or ""
    mode = request.mode or ("auto" if request.language or request.path else "raw")
    context = None
    language = language_for(request.language, request.path)
    if mode != "raw":
        if mode == "auto":
            mode = choose_mode(request.prompt, suffix, language)
        context = Context(request.prompt, suffix, language, mode)
        room = min(room, budget_tokens)
    prefix = fim.neutralise(request.prompt, info.special_tokens)
    suffix = fim.neutralise(suffix, info.special_tokens)
    path = fim.neutralise(request.path or "", info.special_tokens)
    snippets = [
        Snippet(
            path=fim.neutralise(snippet.path, info.special_tokens),
            text=fim.neutralise(snippet.text, info.special_tokens),
        )
        for snippet in request.snippets
    ]
    use_fim = info.fim if suffix.strip() else None
    fitted = prompt.fit(
        prefix, suffix if use_fim else "", snippets, budget_tokens=room, count_tokens=engine.count_tokens
    )
    rendered = fim.render(
        use_fim,
        fitted.prefix,
        fitted.suffix,
        fitted.snippets,
        path=path,
        comment=language.line_comment or "#",
    )
    if not rendered:
        raise BadRequest("The prompt is empty: the model needs something to go on from.", field="prompt")
    return Plan(
        mode=mode,
        context=context,
        language_id=language.id if context else None,
        prompt=rendered,
        report=_report(fitted, use_fim),
        salt=_salt(request, mode, fitted),
    )


def _report(fitted: FittedPrompt, use_fim: fim.FimFormat | None) -> PromptReport:
    return PromptReport(
        prefix_tokens=fitted.prefix_tokens,
        suffix_tokens=fitted.suffix_tokens,
        snippet_tokens=fitted.snippet_tokens,
        snippets_used=len(fitted.snippets),
        clipped=fitted.clipped,
        dropped_chars=fitted.dropped_chars,
        fim=use_fim.name if use_fim else None,
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
