"""One completion for any route, in OpenAI's form: whole, or as server-sent events. Other routes translate it.

A client that leaves cancels its completion, which frees the engine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from acepilot.errors import AcepilotError
from acepilot.protocol import AcepilotInfo, Choice, CompletionRequest, CompletionResponse, Usage
from server.client import client_of
from server.completion import ActiveCompletion, discard
from server.routes.errors import error_response
from server.state import ServerState

_log = structlog.get_logger()

STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
"""The OpenAPI response of a route that can stream."""


def translated(**fields: Any) -> CompletionRequest:
    """Return another protocol's request as our own. Raises RequestValidationError, with our fields' names."""
    try:
        return CompletionRequest(**fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from None


async def whole(body: CompletionRequest, request: Request, state: ServerState) -> CompletionResponse:
    service = state.service
    client = client_of(request.scope, state.settings.token)
    async with service.accept(body, client) as completion:
        await _unless_client_leaves(request.receive, service.complete(completion, discard))
    for choice in completion.choices:
        choice.text = _echoed(body) + choice.text
    choices = sorted(completion.choices, key=lambda choice: choice.index)
    return _response(completion, choices, usage=completion.usage(), acepilot=completion.info())


class EventStream(StreamingResponse):
    """A completion as server-sent events.

    Sends each choice's text `as_it_grows`, or once, after the filters. Then comes the end of each choice,
    `acepilot` with the last of them, and usage if the request asks for it.
    """

    def __init__(
        self,
        body: CompletionRequest,
        state: ServerState,
        *,
        to_protocol: Callable[[CompletionResponse], BaseModel] = lambda chunk: chunk,
        as_it_grows: bool = True,
    ) -> None:
        super().__init__((), media_type="text/event-stream", headers=STREAM_HEADERS)
        self._body = body
        self._state = state
        self._to_protocol = to_protocol
        self._as_it_grows = as_it_grows
        self._sending = asyncio.Lock()  # several choices grow at once
        self._has_begun = False
        self._last_end: CompletionResponse | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Generate and send. The response ends when the completion's time is over, read or not."""
        client = client_of(scope, self._state.settings.token)
        async with self._state.service.accept(self._body, client) as completion:
            timeout_s = completion.left_s() + self._state.options.last_event_timeout_s
            try:
                async with asyncio.timeout(timeout_s):
                    await _unless_client_leaves(receive, self._stream(completion, send))
            except TimeoutError:
                _log.warning("stream_not_read", id=completion.trail.id)
            except ClientDisconnect:
                if not self._has_begun:
                    raise

    async def _stream(self, completion: ActiveCompletion, send: Send) -> None:
        async def emit(choice: Choice) -> None:
            async with self._sending:
                if not self._has_begun:
                    await self._begin(completion, send)
                if choice.finish_reason is not None:
                    await self._end_choice(completion, choice, send)
                elif self._as_it_grows:
                    await self._send_event(_response(completion, [choice]), send)

        try:
            await self._state.service.complete(completion, emit)
            await self._end(completion, send)
        except AcepilotError as error:
            if not self._has_begun:  # the error can have its own status line
                raise
            _log.warning("stream_failed", id=completion.trail.id, code=error.code)
            await self._send_event(error_response(error), send, more=False)

    async def _begin(self, completion: ActiveCompletion, send: Send) -> None:
        self._has_begun = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if echoed := _echoed(self._body):
            for index in range(self._body.n):
                await self._send_event(_response(completion, [Choice(index=index, text=echoed)]), send)

    async def _end_choice(self, completion: ActiveCompletion, choice: Choice, send: Send) -> None:
        """Send the previous choice's end. The last one waits for `acepilot`, which is known at the end."""
        if self._last_end is not None:
            await self._send_event(self._last_end, send)
        text = "" if self._as_it_grows else choice.text
        self._last_end = _response(completion, [choice.model_copy(update={"text": text})])

    async def _end(self, completion: ActiveCompletion, send: Send) -> None:
        if self._last_end is not None:
            self._last_end.acepilot = completion.info(completion.text)
            await self._send_event(self._last_end, send)
        options = self._body.stream_options
        if options is not None and options.include_usage:
            await self._send_event(_response(completion, usage=completion.usage()), send)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _send_event(self, chunk: BaseModel, send: Send, *, more: bool = True) -> None:
        if isinstance(chunk, CompletionResponse):
            chunk = self._to_protocol(chunk)
        data = f"data: {chunk.model_dump_json()}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": more})


def _response(
    completion: ActiveCompletion,
    choices: list[Choice] | None = None,
    *,
    usage: Usage | None = None,
    acepilot: AcepilotInfo | None = None,
) -> CompletionResponse:
    return CompletionResponse(
        id=completion.trail.id,
        created=completion.created,
        model=completion.trail.model,
        choices=choices or [],
        usage=usage,
        acepilot=acepilot,
    )


def _echoed(body: CompletionRequest) -> str:
    return body.prompt if body.echo else ""


async def _unless_client_leaves(receive: Receive, work: Awaitable[None]) -> None:
    """Await the work. When the client leaves first, cancel the work and raise ClientDisconnect."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_client_left(receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        task.result()
    finally:
        for pending in (task, leaving):
            pending.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
