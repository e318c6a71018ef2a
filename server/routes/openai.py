"""OpenAI's `POST /v1/completions`, whole or as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from acepilot.errors import AcepilotError
from acepilot.protocol import Choice, CompletionRequest, CompletionResponse, Usage
from server.errors import error_response
from server.routes.access import State
from server.service import Completed, Completion, Done, Event, Piece

router = APIRouter(prefix="/v1", tags=["completions"])
_log = structlog.get_logger()

Events = AsyncGenerator[Event, None]
_Result = TypeVar("_Result")


@router.post("/completions", response_model=CompletionResponse)
async def completions(
    body: CompletionRequest, request: Request, state: State
) -> CompletionResponse | StreamingResponse:
    service = state.service
    completion = service.accept(body)
    events = service.stream(completion)
    if body.stream:
        # The first event comes before the status line, so that a failure until then has its own status.
        first = await _unless_client_leaves(request, anext(events))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _server_sent(completion, first, events), media_type="text/event-stream", headers=headers
        )
    return await _unless_client_leaves(request, _whole(completion, events))


async def _whole(completion: Completion, stream: Events) -> CompletionResponse:
    choices: list[Choice] = []
    response = _envelope(completion)
    async with contextlib.aclosing(stream) as events:
        async for event in events:
            if isinstance(event, Done):
                choices.append(_choice(event))
            elif isinstance(event, Completed):
                response.usage = event.usage
                response.acepilot = event.info.model_copy(update={"text": None})
    response.choices = sorted(choices, key=lambda choice: choice.index)
    return response


async def _server_sent(completion: Completion, first: Event, rest: Events) -> AsyncGenerator[str, None]:
    """Deltas; then each choice's end; `acepilot` with the last of them; usage if asked for; [DONE]."""
    options = completion.request.stream_options
    last_done: CompletionResponse | None = None
    try:
        async with contextlib.aclosing(_chained(first, rest)) as events:
            async for event in events:
                if isinstance(event, Completed):
                    if last_done is not None:
                        last_done.acepilot = event.info
                        yield _data(last_done)
                    if options is not None and options.include_usage:
                        yield _data(_envelope(completion, usage=event.usage))
                elif isinstance(event, Done):
                    if last_done is not None:
                        yield _data(last_done)
                    last_done = _chunk(completion, event)
                else:
                    yield _data(_chunk(completion, event))
    except AcepilotError as error:  # the status line is sent already, so the stream itself tells
        _log.warning("stream_failed", id=completion.id, code=error.code)
        yield f"data: {error_response(error).model_dump_json()}\n\n"
        return
    yield "data: [DONE]\n\n"


async def _chained(first: Event, rest: Events) -> Events:
    async with contextlib.aclosing(rest):
        yield first
        async for event in rest:
            yield event


def _envelope(completion: Completion, usage: Usage | None = None) -> CompletionResponse:
    return CompletionResponse(
        id=completion.id, created=completion.created, model=completion.trail.model, choices=[], usage=usage
    )


def _chunk(completion: Completion, event: Event) -> CompletionResponse:
    response = _envelope(completion)
    if isinstance(event, Piece):
        response.choices = [Choice(index=event.index, text=event.text)]
    elif isinstance(event, Done):
        response.choices = [_choice(event).model_copy(update={"text": ""})]
    return response


def _choice(done: Done) -> Choice:
    return Choice(
        index=done.index,
        text=done.text,
        finish_reason="length" if done.finish_reason == "length" else "stop",
    )


def _data(response: CompletionResponse) -> str:
    return f"data: {response.model_dump_json()}\n\n"


async def _unless_client_leaves(request: Request, work: Awaitable[_Result]) -> _Result:
    """The work's result; when the client leaves first, the work is cancelled, and nobody reads the answer."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_client_left(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for pending in (task, leaving):
            pending.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _client_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
