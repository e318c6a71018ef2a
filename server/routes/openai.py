"""OpenAI's `POST /v1/completions`, whole or as server-sent events. Tabby's clients use the same path."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import StreamingResponse
from pydantic import WrapValidator

from acepilot.protocol import CompletionRequest, CompletionResponse
from server.routes.answers import STREAMED, EventStream, whole
from server.routes.body import JsonRoute
from server.routes.tabby import TabbyRequest, TabbyResponse, complete
from server.state import State

router = APIRouter(prefix="/v1", tags=["completions"], route_class=JsonRoute)


def _by_shape(value: Any, _: object) -> CompletionRequest | TabbyRequest:
    """Tell the protocol by one field instead of trying both, so that errors name the right fields."""
    is_tabby = isinstance(value, dict) and "segments" in value
    return (TabbyRequest if is_tabby else CompletionRequest).model_validate(value)


@router.post("/completions", response_model=CompletionResponse | TabbyResponse, responses=STREAMED)
async def completions(
    body: Annotated[CompletionRequest | TabbyRequest, Body(), WrapValidator(_by_shape)],
    request: Request,
    state: State,
) -> CompletionResponse | TabbyResponse | StreamingResponse:
    if isinstance(body, TabbyRequest):
        return await complete(body, request, state)
    return EventStream(body, state) if body.stream else await whole(body, request, state)
