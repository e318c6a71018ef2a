"""One completion for any route, in OpenAI's words: whole, or chunk by chunk. Other protocols reword these.

A client that leaves ends its completion, and frees the engine.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from acepilot.errors import AcepilotError
from acepilot.protocol import Choice, CompletionRequest, CompletionResponse, Usage
from server.completion import ActiveCompletion, Completed, Done, StreamItem
from server.routes.errors import error_response
from server.state import ServerState

_log = structlog.get_logger()

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

LAST_WORDS_S = 10.0
"""To read why a stream ends, when its completion's time is over."""

STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""For the description of a route that streams where it is asked to."""

StreamItems = AsyncGenerator[StreamItem, None]
ToProtocol = Callable[[CompletionResponse], BaseModel]
_Result = TypeVar("_Result")


def translated(**fields: Any) -> CompletionRequest:
    """Another protocol's request as our own. What is wrong with it is told by our fields' names."""
    try:
        return CompletionRequest(**fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from None


async def whole(body: CompletionRequest, request: Request, state: ServerState) -> CompletionResponse:
    service = state.service
    completion = service.accept(body)
    return await _unless_client_leaves(request, _collected(completion, service.stream(completion)))


async def streamed(
    body: CompletionRequest,
    request: Request,
    state: ServerState,
    *,
    reword: ToProtocol = lambda chunk: chunk,
    as_it_grows: bool = True,
) -> StreamingResponse:
    """Server-sent events. Unless sent `as_it_grows`, each choice's text comes once, after the filters."""
    service = state.service
    completion = service.accept(body)
    events = service.stream(completion)
    # The first event comes before the status line, so that a failure until then has its own status.
    first = await _unless_client_leaves(request, anext(events))
    chunks = _chunks(completion, _chained(first, events), as_it_grows)
    return _Stream(completion, _server_sent(completion, chunks, reword))


async def _collected(completion: ActiveCompletion, stream: StreamItems) -> CompletionResponse:
    choices: list[Choice] = []
    response = _envelope(completion)
    async with contextlib.aclosing(stream) as events:
        async for event in events:
            if isinstance(event, Done):
                choice = _choice(event)
                choice.text = _echoed(completion) + choice.text
                choices.append(choice)
            elif isinstance(event, Completed):
                response.usage = event.usage
                response.acepilot = event.info.model_copy(update={"text": None})
    response.choices = sorted(choices, key=lambda choice: choice.index)
    return response


async def _chunks(
    completion: ActiveCompletion, stream: StreamItems, as_it_grows: bool
) -> AsyncGenerator[CompletionResponse, None]:
    """Deltas; then each choice's end; `acepilot` with the last of them; usage if asked for."""
    options = completion.request.stream_options
    last_done: CompletionResponse | None = None
    async with contextlib.aclosing(stream) as events:
        if echoed := _echoed(completion):
            choices = [Choice(index=index, text=echoed) for index in range(completion.request.n)]
            yield _envelope(completion, choices)
        async for event in events:
            if isinstance(event, Completed):
                if last_done is not None:
                    last_done.acepilot = event.info
                    yield last_done
                if options is not None and options.include_usage:
                    yield _envelope(completion, usage=event.usage)
            elif isinstance(event, Done):
                if last_done is not None:
                    yield last_done
                choice = _choice(event)
                if as_it_grows:
                    choice.text = ""
                last_done = _envelope(completion, [choice])
            elif as_it_grows:
                yield _envelope(completion, [Choice(index=event.index, text=event.text)])


async def _server_sent(
    completion: ActiveCompletion, chunks: AsyncGenerator[CompletionResponse, None], reword: ToProtocol
) -> AsyncGenerator[str, None]:
    try:
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield f"data: {reword(chunk).model_dump_json()}\n\n"
    except AcepilotError as error:  # the status line is sent already, so the stream itself tells
        _log.warning("stream_failed", id=completion.id, code=error.code)
        yield f"data: {error_response(error).model_dump_json()}\n\n"
        return
    yield "data: [DONE]\n\n"


class _Stream(StreamingResponse):
    """Ends with the completion's time, read or not: who stops reading would else hold its place for ever."""

    def __init__(self, completion: ActiveCompletion, lines: AsyncGenerator[str, None]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers=STREAM_HEADERS)
        self._completion = completion
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._completion.left_s() + LAST_WORDS_S):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            _log.warning("stream_not_read", id=self._completion.id)
        finally:
            await self._lines.aclose()


async def _chained(first: StreamItem, rest: StreamItems) -> StreamItems:
    async with contextlib.aclosing(rest):
        yield first
        async for event in rest:
            yield event


def _envelope(
    completion: ActiveCompletion, choices: list[Choice] | None = None, usage: Usage | None = None
) -> CompletionResponse:
    return CompletionResponse(
        id=completion.id,
        created=completion.created,
        model=completion.trail.model,
        choices=choices or [],
        usage=usage,
    )


def _choice(done: Done) -> Choice:
    return Choice(
        index=done.index,
        text=done.text,
        finish_reason="length" if done.finish_reason == "length" else "stop",
        logprobs=done.log_probs,
    )


def _echoed(completion: ActiveCompletion) -> str:
    return completion.request.prompt if completion.request.echo else ""


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
