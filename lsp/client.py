"""The language server's HTTP client for the completion server.

Every failure becomes a `ServerError`: a state for the status, and a sentence that says what to do.

The server may be of any make, broken or hostile. Every answer is limited in bytes and time. Completions are
cut at MAX_TEXT_CHARS and lose hidden characters that the document does not have. All other texts become one
line of printable characters.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from acepilot.events import MAX_NAME_CHARS, EventBatch
from acepilot.http_answers import AnswerTooLarge, limit_answers, no_cookies
from acepilot.protocol import CompletionRequest, CompletionResponse, Health, ModelList, Ready
from acepilot.settings import is_loopback
from acepilot.trail import Trail
from acepilot.untrusted_text import HiddenCharacters, hidden_in
from lsp.answers import ServerError, error_of, message_of, parse, parse_chunk, parse_message, unreadable
from lsp.settings import LspSettings

MAX_ANSWER_BYTES = 1_000_000  # a stream of 96 tokens has some 30 kB
MAX_TEXT_CHARS = 10_000
"""The longest completion; 96 tokens have some 400 characters. The offer is compared with each change."""


@dataclass(frozen=True)
class ClientLimits:
    """Time limits, in seconds."""

    connect_s: float = 2.0
    """For opening a connection, and for each whole answer to a health check."""
    answer_s: float = 120.0
    """For every other answer as a whole: the longest time budget that a user can set."""
    silence_s: float = 30.0
    """Without any data of an answer, and for the head of a stream. A server that hangs would otherwise hold
    the request for ever."""
    drain_s: float = 0.5
    """For the end of a response's body after its last event. A connection that takes longer is closed."""


class CompletionClient:
    """Sends requests to one server. `url` is for messages: it holds no name and password.

    Close it with `aclose`. Every method that sends a request raises ServerError.
    """

    def __init__(
        self,
        settings: LspSettings,
        limits: ClientLimits = ClientLimits(),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        address = httpx.URL(str(settings.server_url))
        self.url = str(address.copy_with(userinfo=b"")).rstrip("/")
        self._limits = limits
        headers = {"User-Agent": "acepilot-lsp"}
        if settings.token is not None:
            headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        self._http = httpx.AsyncClient(
            base_url=address,
            headers=headers,
            timeout=httpx.Timeout(limits.silence_s, connect=limits.connect_s),
            # No limit on connections: one request per document is in flight, and a request that waited for a
            # connection being closed would look like a server that hangs.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=2),
            # A company's HTTP_PROXY must not be used for this machine itself.
            trust_env=not is_loopback(address.host),
            event_hooks=limit_answers(MAX_ANSWER_BYTES),
            cookies=no_cookies(),
            transport=transport,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[CompletionResponse]:
        """Yield the chunks of one completion. Closing the iterator cancels the generation."""
        body = {**request.model_dump(mode="json", exclude_none=True), "stream": True}
        deadline_s = asyncio.get_running_loop().time() + self._limits.answer_s
        text = _hidden_characters(request)
        left = MAX_TEXT_CHARS
        async with self._server_errors(), self._opened_stream(body, deadline_s) as response:
            async with aclosing(EventSource(response).aiter_sse()) as events:
                while (event := await _next(events, deadline_s)) is not None:
                    if event.data == "[DONE]":
                        await self._drain(events)
                        return
                    chunk = _with_short_names(parse_chunk(event.data))
                    for choice in chunk.choices[:1]:  # a request for a stream asks for one choice
                        choice.text = text.visible(choice.text)[:left]
                        left -= len(choice.text)
                    if chunk.acepilot is not None:
                        chunk.acepilot.reason = message_of(chunk.acepilot.reason)
                        chunk.acepilot.text = _visible(chunk.acepilot.text, request)
                    yield chunk
                    if not left:
                        return
            raise ServerError("off", "The completion server broke off within an answer; see its log.")

    async def complete(self, request: CompletionRequest) -> CompletionResponse:
        """Return a complete answer with all its choices. Cancelling the task cancels the generation."""
        body = request.model_dump(mode="json", exclude_none=True)
        answer = await self._send("POST", "/v1/completions", json=body)
        response = _with_short_names(parse(CompletionResponse, answer))
        response.choices = response.choices[: request.n]
        for choice in response.choices:
            choice.text = _visible(choice.text, request) or ""
        return response

    async def send_events(self, batch: EventBatch) -> None:
        await self._send("POST", "/v1/events", json=batch.model_dump(mode="json"))

    async def explain(self, completion_id: str) -> Trail:
        """Return the server's record of why it gave this completion, or none."""
        return parse_message(Trail, await self._send("GET", f"/v1/explain/{quote(completion_id, safe='')}"))

    async def version(self) -> str:
        return parse_message(Health, await self._send("GET", "/health", self._limits.connect_s)).version

    async def check(self) -> Ready:
        """Return the server's own report on whether it can complete, after trying the token."""
        response = await self._ask("GET", "/ready", self._limits.connect_s)
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
            raise error_of(response, self.url)
        ready = parse_message(Ready, response.content)
        models = await self._ask("GET", "/v1/models", self._limits.connect_s)
        if models.status_code == HTTPStatus.OK:
            parse(ModelList, models.content)
        elif models.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise error_of(models, self.url)
        return ready

    async def _send(self, method: str, path: str, within_s: float | None = None, **options: Any) -> bytes:
        """Return the body of an answer with status 200. `options` are httpx's."""
        response = await self._ask(method, path, within_s or self._limits.answer_s, **options)
        if response.status_code != HTTPStatus.OK:
            raise error_of(response, self.url)
        return response.content

    async def _ask(self, method: str, path: str, within_s: float, **options: Any) -> httpx.Response:
        """Return a whole answer of any status."""
        async with self._server_errors(), asyncio.timeout(within_s):
            return await self._http.request(method, path, **options)

    @asynccontextmanager
    async def _opened_stream(self, body: dict[str, Any], deadline_s: float) -> AsyncGenerator[httpx.Response]:
        """Ask for a completion and open its stream. Raise ServerError for an answer of another status."""
        request = self._http.build_request("POST", "/v1/completions", json=body)
        # httpx limits only the silence between two parts of a head.
        async with asyncio.timeout(self._limits.silence_s):
            response = await self._http.send(request, stream=True)
        try:
            if response.status_code != HTTPStatus.OK:
                async with asyncio.timeout_at(deadline_s):
                    await response.aread()
                raise error_of(response, self.url)
            yield response
        finally:
            await response.aclose()

    async def _drain(self, events: AsyncGenerator[ServerSentEvent]) -> None:
        """Read to the end of the body: only then does httpx keep the connection for the next request."""
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(self._limits.drain_s):
                async for _ in events:
                    pass

    @asynccontextmanager
    async def _server_errors(self) -> AsyncGenerator[None]:
        """Raise httpx's errors as ServerError."""
        try:
            yield
        except httpx.ConnectError as error:
            raise ServerError(
                "off",
                f"No completion server at {self.url}: start it with `python -m server`, or give its address "
                "with --server-url or ACEPILOT_SERVER_URL.",
            ) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise ServerError(
                "off", f"The completion server at {self.url} does not answer; see its log."
            ) from error
        except SSEError as error:
            raise unreadable() from error
        except AnswerTooLarge as error:
            raise ServerError(
                "error",
                f"The completion server at {self.url} sends over {MAX_ANSWER_BYTES // 1000} kB at once, or "
                "compressed data: check that --server-url is an Acepilot server.",
            ) from error
        except httpx.HTTPError as error:
            raise ServerError(
                "off",
                f"The connection to the completion server at {self.url} broke ({type(error).__name__}).",
            ) from error


async def _next(events: AsyncGenerator[ServerSentEvent], deadline_s: float) -> ServerSentEvent | None:
    async with asyncio.timeout_at(deadline_s):
        return await anext(events, None)


def _with_short_names(response: CompletionResponse) -> CompletionResponse:
    """Cut the model's name, and drop an id that is too long for an event: both are kept in the cache."""
    if len(response.id) > MAX_NAME_CHARS:
        response.id = ""
    response.model = response.model[:MAX_NAME_CHARS]
    return response


def _visible(text: str | None, request: CompletionRequest) -> str | None:
    return text and _hidden_characters(request).visible(text[:MAX_TEXT_CHARS])


def _hidden_characters(request: CompletionRequest) -> HiddenCharacters:
    return HiddenCharacters(request.prompt, hidden_in(request.prompt, request.suffix or ""))
