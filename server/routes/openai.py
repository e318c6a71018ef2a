"""OpenAI's `POST /v1/completions`, whole or as server-sent events. Tabby's clients ask there too."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import StreamingResponse
from pydantic import WrapValidator

from acepilot.protocol import CompletionRequest, CompletionResponse
from server.routes.access import State
from server.routes.answers import STREAMED, streamed, whole
from server.routes.tabby import TabbyRequest, TabbyResponse, complete

router = APIRouter(prefix="/v1", tags=["completions"])


def _told_apart(value: Any, _: object) -> CompletionRequest | TabbyRequest:
    """By a look rather than by trying both: errors then speak of the protocol that was meant."""
    is_tabby = isinstance(value, dict) and "segments" in value
    return (TabbyRequest if is_tabby else CompletionRequest).model_validate(value)


@router.post("/completions", response_model=CompletionResponse | TabbyResponse, responses=STREAMED)
async def completions(
    body: Annotated[CompletionRequest | TabbyRequest, Body(), WrapValidator(_told_apart)],
    request: Request,
    state: State,
) -> CompletionResponse | TabbyResponse | StreamingResponse:
    if isinstance(body, TabbyRequest):
        return await complete(body, request, state)
    return await (streamed if body.stream else whole)(body, request, state)
