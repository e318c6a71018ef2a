"""llama.vim and llama.vscode -> llama.cpp's `POST /infill`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from acepilot.protocol import (
    MAX_SNIPPETS,
    MAX_TOKENS,
    CompletionRequest,
    CompletionResponse,
    PathName,
    Text,
    without_nulls,
)
from acepilot.trail import Trail
from server.routes.answers import STREAM_HEADERS, STREAMED, translated, whole
from server.routes.body import JsonRoute
from server.state import State

router = APIRouter(tags=["infill"], route_class=JsonRoute)

DEFAULT_PREDICT = 128
"""Tokens when `n_predict` is missing or negative: what llama.vim asks for."""

ANY_SUFFIX = "\n#"
"""The suffix of a warm-up request without one, so that its snippets are laid out as in the next request."""


MAX_ITEMS = 1_000
"""Items of a list in a request; the plugins send up to 16 chunks."""

MAX_FIELDS = 64
"""Names of fields of the answer, which has 18."""

FieldName = Annotated[str, Field(max_length=64)]


class InfillExtra(BaseModel):
    filename: PathName = ""
    text: Text


class InfillRequest(BaseModel):
    """llama.cpp's request. Fields for its own sampling and slots are ignored, such as `top_k`, `samplers`,
    `cache_prompt`, `id_slot`, `n_indent`, `n_cmpl`, `t_max_prompt_ms`, `lora` and `model`."""

    input_prefix: Text = Field(default="", description="The lines above the cursor's line.")
    prompt: Text = Field(default="", description="The cursor's line, up to the cursor.")
    input_suffix: Text = Field(default="", description="The text after the cursor.")
    input_extra: Annotated[list[InfillExtra], FailFast()] = Field(
        default_factory=list[InfillExtra],
        max_length=MAX_ITEMS,
        description=f"Chunks of other files, oldest first; the last {MAX_SNIPPETS} are used.",
    )
    n_predict: int = Field(
        default=DEFAULT_PREDICT,
        description="Most tokens to generate; negative: the default; 0: only read the prompt into the KV "
        "cache. At most half of the model's context, since the prompt needs the other half.",
    )
    t_max_predict_ms: int | None = Field(
        default=None, description="Counted from the first token; then the answer ends with a whole line."
    )
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[Annotated[str, Field(max_length=256)]] | None = Field(
        default=None, max_length=MAX_ITEMS, fail_fast=True
    )
    stream: bool = False
    response_fields: Annotated[list[FieldName], FailFast()] = Field(
        default_factory=list[str],
        max_length=MAX_FIELDS,
        description="Answer with these fields only, flat, by names such as `timings/prompt_n`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, value: object) -> object:
        return without_nulls(value)


class Timings(BaseModel):
    """`prompt_n` and `predicted_n` are tokens."""

    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class InfillResponse(BaseModel):
    """llama.cpp's response. `id` opens `/v1/explain/{id}`."""

    content: str
    id: str
    model: str
    stop: bool = True
    stop_type: Literal["eos", "limit"]
    tokens_predicted: int
    tokens_evaluated: int
    truncated: bool
    timings: Timings


class InfillFields(BaseModel):
    """The fields that `response_fields` names."""

    model_config = ConfigDict(extra="allow")

    id: str


@router.post("/infill", response_model=InfillResponse | InfillFields, responses=STREAMED)
async def infill(body: InfillRequest, request: Request, state: State) -> Response:
    answer = await whole(_our_request(body, state.service.engine.info.context_tokens), request, state)
    given = _their_response(answer, state.trails.get(answer.id)).model_dump()
    if body.response_fields:
        given = {"id": given["id"], **_picked(given, body.response_fields)}
    response = JSONResponse(given)  # compact JSON: llama.vim searches for `"content":"`
    if body.stream:  # the filters need the whole text, so the stream has one event
        events = b"data: " + bytes(response.body) + b"\n\n"
        return Response(events, media_type="text/event-stream", headers=STREAM_HEADERS)
    return response


def _our_request(body: InfillRequest, context_tokens: int) -> CompletionRequest:
    warms_up = body.n_predict == 0
    max_tokens = body.n_predict if body.n_predict >= 0 else DEFAULT_PREDICT
    return translated(
        prompt=body.input_prefix + body.prompt,
        suffix=body.input_suffix if body.input_suffix.strip() or not warms_up else ANY_SUFFIX,
        snippets=[{"path": each.filename, "text": each.text} for each in body.input_extra[-MAX_SNIPPETS:]],
        max_tokens=min(max_tokens, MAX_TOKENS, context_tokens // 2),
        time_limit_ms=body.t_max_predict_ms if (body.t_max_predict_ms or 0) > 0 else None,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed if (body.seed or 0) >= 0 else None,
        stop=[text for text in body.stop or [] if text],
        mode="auto",
    )


def _their_response(answer: CompletionResponse, trail: Trail) -> InfillResponse:
    choice, usage = answer.choices[0], answer.usage
    prompt_tokens = usage.prompt_tokens if usage else 0
    predicted_tokens = usage.completion_tokens if usage else 0
    return InfillResponse(
        content=choice.text,
        id=answer.id,
        model=answer.model,
        stop_type="limit" if choice.finish_reason == "length" else "eos",
        tokens_predicted=predicted_tokens,
        tokens_evaluated=prompt_tokens,
        truncated=answer.acepilot is not None and answer.acepilot.clipped,
        timings=_timings(trail, prompt_tokens, predicted_tokens),
    )


def _timings(trail: Trail, prompt_tokens: int, predicted_tokens: int) -> Timings:
    """The prompt's time ends with the first token. An answer from the cache takes no time at all."""
    prompt_ms = max(0.0, trail.first_token_ms - trail.queue_ms) if trail.first_token_ms is not None else 0.0
    predicted_ms = (trail.total_ms or 0.0) - (trail.first_token_ms or trail.total_ms or 0.0)
    return Timings.model_validate(
        _speed("prompt", prompt_tokens, prompt_ms) | _speed("predicted", predicted_tokens, predicted_ms)
    )


def _speed(part: str, tokens: int, ms: float) -> dict[str, float]:
    return {
        f"{part}_n": tokens,
        f"{part}_ms": ms,
        f"{part}_per_token_ms": ms / tokens if tokens else 0.0,
        f"{part}_per_second": 1000 * tokens / ms if ms else 0.0,
    }


def _picked(given: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the named fields, `a/b` for `b` inside `a`, without unknown names, as llama.cpp does."""
    picked: dict[str, Any] = {}
    for name in names:
        value: Any = given
        for part in name.split("/", 2):
            value = value.get(part) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]
        if value is not None:
            picked[name] = value
    return picked
