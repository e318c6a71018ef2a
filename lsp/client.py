"""The language server's HTTP client for the completion server.

Every failure becomes a `ServerError`: a state for the status, and a sentence that says what to do.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import BaseModel, ValidationError

from acepilot import __version__
from acepilot.errors import Overloaded
from acepilot.events import EventBatch
from acepilot.protocol import CompletionRequest, CompletionResponse, ErrorResponse, Health, ModelList, Ready
from acepilot.settings import is_loopback
from acepilot.trail import Trail
from lsp.settings import LspSettings

State = Literal["ready", "loading", "busy", "slow", "off", "unauthorized", "error"]
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True)
class ClientLimits:
    """Time limits, in seconds."""

    connect_s: float = 2.0
    """For opening a connection, and for each answer to a health check."""
    silence_s: float = 30.0
    """Without any data of an answer. A server that hangs would otherwise hold the request for ever."""
    drain_s: float = 0.5
    """For the end of a response's body after its last event. A connection that takes longer is closed."""


class ServerError(Exception):
    """The server cannot complete now. `message` is a sentence for the user; it never holds code.

    `refused` means that the server rejected this very request, and would reject it again.
    """

    def __init__(
        self, state: State, message: str, *, retry_after_s: float | None = None, refused: bool = False
    ) -> None:
        super().__init__(message)
        self.state: State = state
        self.message = message
        self.retry_after_s = retry_after_s
        self.refused = refused


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
            transport=transport,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[CompletionResponse]:
        """Yield the chunks of one completion. Closing the iterator cancels the generation."""
        body = {**request.model_dump(mode="json", exclude_none=True), "stream": True}
        async with self._server_errors(), self._http.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != HTTPStatus.OK:
                await response.aread()
                raise _error_of(response, self.url)
            async with aclosing(EventSource(response).aiter_sse()) as events:
                async for event in events:
                    if event.data == "[DONE]":
                        await self._drain(events)
                        return
                    yield _parse_chunk(event.data)
            raise ServerError("off", "The completion server broke off within an answer; see its log.")

    async def complete(self, request: CompletionRequest) -> CompletionResponse:
        """Return a complete answer with all its choices. Cancelling the task cancels the generation."""
        body = request.model_dump(mode="json", exclude_none=True)
        return _parse(CompletionResponse, await self._send("POST", "/v1/completions", json=body))

    async def send_events(self, batch: EventBatch) -> None:
        await self._send("POST", "/v1/events", json=batch.model_dump(mode="json"))

    async def explain(self, completion_id: str) -> Trail:
        """Return the server's record of why it gave this completion, or none."""
        return _parse(Trail, await self._send("GET", f"/v1/explain/{quote(completion_id, safe='')}"))

    async def version(self) -> str:
        return _parse(Health, await self._send("GET", "/health", timeout=self._limits.connect_s)).version

    async def check(self) -> Ready:
        """Return the server's own report on whether it can complete, after trying the token."""
        async with self._server_errors():
            response = await self._http.get("/ready", timeout=self._limits.connect_s)
            if response.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
                raise _error_of(response, self.url)
            ready = _parse(Ready, response.content)
            models = await self._http.get("/v1/models", timeout=self._limits.connect_s)
            if models.status_code == HTTPStatus.OK:
                _parse(ModelList, models.content)
            elif models.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise _error_of(models, self.url)
        return ready

    async def _send(self, method: str, path: str, **options: Any) -> bytes:
        """Return the body of an answer with status 200. `options` are httpx's."""
        async with self._server_errors():
            response = await self._http.request(method, path, **options)
        if response.status_code != HTTPStatus.OK:
            raise _error_of(response, self.url)
        return response.content

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
        except httpx.TimeoutException as error:
            raise ServerError(
                "off", f"The completion server at {self.url} does not answer; see its log."
            ) from error
        except SSEError as error:
            raise _unreadable() from error
        except httpx.HTTPError as error:
            raise ServerError(
                "off",
                f"The connection to the completion server at {self.url} broke ({type(error).__name__}).",
            ) from error


def _parse(model: type[_Body], data: str | bytes) -> _Body:
    try:
        return model.model_validate_json(data)
    except ValidationError:
        # Without a cause: pydantic's message quotes the data, which may be code.
        raise _unreadable() from None


def _unreadable() -> ServerError:
    return ServerError(
        "error",
        "The completion server's answer cannot be read: check that --server-url is an Acepilot server of the "
        "same version as this language server.",
    )


def version_advice(theirs: str, ours: str = __version__) -> str:
    """Return what to do if the server, version `theirs`, may not understand `ours`; "" if the two agree.

    Releases that differ only in their last number work together.
    """
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return ""
    return (
        f"The completion server is version {theirs} and this language server {ours}: install the same "
        "version of both, since one may not understand the other's messages."
    )


def _parse_chunk(data: str) -> CompletionResponse:
    if data.startswith('{"error"'):
        failed = _parse(ErrorResponse, data).error
        if failed.code == Overloaded.code:
            raise ServerError("busy", f"The completion server is busy: {failed.message}", retry_after_s=1.0)
        raise ServerError("error", f"The completion server failed: {failed.message}")
    return _parse(CompletionResponse, data)


def _error_of(response: httpx.Response, url: str) -> ServerError:
    try:
        message = ErrorResponse.model_validate_json(response.content).error.message
    except ValidationError:
        message = f"HTTP {response.status_code}"
    match response.status_code:
        case 401 | 403:
            return ServerError(
                "unauthorized",
                f"The completion server at {url} refuses the token: set ACEPILOT_TOKEN to the server's.",
            )
        case 429:
            retry_after = response.headers.get("Retry-After", "1")
            seconds = float(retry_after) if retry_after.isdigit() else 1.0
            return ServerError("busy", f"The completion server is busy: {message}", retry_after_s=seconds)
        case 502 | 504:
            return ServerError(
                "off", f"The proxy at {url} cannot reach the completion server ({message}): is it running?"
            )
        case 503:
            return ServerError("loading", f"The completion server is not ready: {message}")
        case 422:
            return ServerError(
                "error",
                "The completion server does not understand this language server: install the same version of "
                "both.",
                refused=True,
            )
        case status:
            refused = 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT
            return ServerError("error", f"The completion server failed: {message}", refused=refused)
