"""Copilot-style plugins -> `POST /v1/engines/{engine}/completions`: OpenAI's form, an editor's filters."""

from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import model_validator

from acepilot.protocol import MAX_CHOICES, CompletionRequest, CompletionResponse, PathName
from server.routes.answers import STREAMED, EventStream, whole
from server.routes.body import JsonRoute
from server.state import State

router = APIRouter(prefix="/v1", tags=["completions"], route_class=JsonRoute)


class EngineRequest(CompletionRequest):
    """OpenAI's request as these plugins send it.

    The language is in `extra`. `logprobs` are requested, but the plugins work without them. A panel of
    suggestions asks for 10 choices, which is cut to `MAX_CHOICES`.
    """

    @model_validator(mode="before")
    @classmethod
    def _as_openai_sends_it(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = cast(dict[str, Any], value)
        fields = {name: given[name] for name in given if name not in ("logprobs", "best_of", "echo")}
        extra = fields.pop("extra", None)
        if isinstance(extra, dict) and fields.get("language") is None:
            fields["language"] = cast(dict[str, Any], extra).get("language")
        if isinstance(fields.get("n"), int):
            fields["n"] = min(fields["n"], MAX_CHOICES)
        if fields.get("mode") is None:
            fields["mode"] = "auto"
        return fields


@router.post("/engines/{engine}/completions", response_model=CompletionResponse, responses=STREAMED)
async def engine_completions(
    engine: PathName, body: EngineRequest, request: Request, state: State
) -> CompletionResponse | StreamingResponse:
    """`engine` may be any name: one server serves one model."""
    if body.stream:  # these clients insert the deltas, so the deltas must be filtered text
        return EventStream(body, state, as_it_grows=False)
    return await whole(body, request, state)
