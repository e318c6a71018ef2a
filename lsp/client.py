"""The completion server as the language server sees it: one streamed request, and "are you well?".

Whatever goes wrong becomes one `ServerError`: a state for the status and a sentence that says what to do.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import BaseModel, ValidationError

from acepilot.errors import Overloaded
from acepilot.events import EventBatch
from acepilot.protocol import (
    CompletionRequest,
    CompletionResponse,
    ErrorResponse,
    Health,
    ModelList,
    Ready,
    Trail,
)
from acepilot.settings import is_loopback
from lsp.settings import LspSettings

State = Literal["ready", "loading", "busy", "slow", "off", "unauthorized", "error"]
_Body = TypeVar("_Body", bound=BaseModel)

CONNECT_TIMEOUT_S = 2.0
SILENCE_TIMEOUT_S = 30.0
"""A stream that says nothing for this long is given up, so that a server that hangs holds nothing here."""
READ_OUT_S = 0.5


class ServerError(Exception):
    """The server cannot complete now. `message` is a sentence for the user; it never holds code.

    `refused`: it said no to this very request, and would say the same next time.
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
    """Asks one server. Close it with `aclose`. `url` is for messages: without a name and password in it."""

    def __init__(self, settings: LspSettings) -> None:
        address = httpx.URL(str(settings.server_url))
        self.url = str(address.copy_with(userinfo=b"")).rstrip("/")
        headers = {"User-Agent": "acepilot-lsp"}
        if settings.token is not None:
            headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        self._http = httpx.AsyncClient(
            base_url=address,
            headers=headers,
            timeout=httpx.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # No cap: what is in flight is one request a document, and a cap would make a slot that is just
            # being given back look like a server that hangs.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=2),
            # A company's HTTP_PROXY must not be asked for this very machine.
            trust_env=not is_loopback(address.host),
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[CompletionResponse]:
        """The chunks of one completion. Closing the iterator cancels the generation. Raises ServerError."""
        body = {**request.model_dump(mode="json", exclude_none=True), "stream": True}
        async with (
            self._troubles(),
            self._http.stream("POST", "/v1/completions", json=body) as response,
        ):
            if response.status_code != HTTPStatus.OK:
                await response.aread()
                raise _refusal(response, self.url)
            async with aclosing(EventSource(response).aiter_sse()) as events:
                async for event in events:
                    if event.data == "[DONE]":
                        await _read_out(events)
                        return
                    yield _chunk(event.data)
            raise ServerError(
                "off", "The completion server broke off in the middle of an answer; see its log."
            )

    async def complete(self, request: CompletionRequest) -> CompletionResponse:
        """A whole answer, with all of its choices. Cancelling the task cancels the generation.

        Raises ServerError.
        """
        body = request.model_dump(mode="json", exclude_none=True)
        return _parse(CompletionResponse, await self._ask("POST", "/v1/completions", json=body))

    async def send_events(self, batch: EventBatch) -> None:
        """Raises ServerError."""
        await self._ask("POST", "/v1/events", json=batch.model_dump(mode="json"))

    async def explain(self, completion_id: str) -> Trail:
        """Why the server gave this completion, or none. Raises ServerError."""
        return _parse(Trail, await self._ask("GET", f"/v1/explain/{quote(completion_id, safe='')}"))

    async def version(self) -> str:
        """The server's own. Raises ServerError."""
        return _parse(Health, await self._ask("GET", "/health", timeout=CONNECT_TIMEOUT_S)).version

    async def check(self) -> Ready:
        """The server's own word on whether it can complete, and a try of the token. Raises ServerError."""
        async with self._troubles():
            response = await self._http.get("/ready", timeout=CONNECT_TIMEOUT_S)
            if response.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
                raise _refusal(response, self.url)
            ready = _parse(Ready, response.content)
            models = await self._http.get("/v1/models", timeout=CONNECT_TIMEOUT_S)
            if models.status_code == HTTPStatus.OK:
                _parse(ModelList, models.content)
            elif models.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise _refusal(models, self.url)
        return ready

    async def _ask(self, method: str, path: str, **options: Any) -> bytes:
        """The body of an answer that is 200; `options` are httpx's. Raises ServerError."""
        async with self._troubles():
            response = await self._http.request(method, path, **options)
        if response.status_code != HTTPStatus.OK:
            raise _refusal(response, self.url)
        return response.content

    @asynccontextmanager
    async def _troubles(self) -> AsyncGenerator[None]:
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
            raise _nonsense() from error
        except httpx.HTTPError as error:
            raise ServerError(
                "off",
                f"The connection to the completion server at {self.url} broke ({type(error).__name__}).",
            ) from error


async def _read_out(events: AsyncGenerator[ServerSentEvent]) -> None:
    """Read to the body's end after its last event: only then does httpx keep the connection for the next."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(READ_OUT_S):
            async for _ in events:
                pass


def _parse(model: type[_Body], data: str | bytes) -> _Body:
    try:
        return model.model_validate_json(data)
    except ValidationError:
        # Without a cause: pydantic's words quote what was received, which may be code.
        raise _nonsense() from None


def _nonsense() -> ServerError:
    return ServerError(
        "error",
        "The completion server's answer makes no sense: is --server-url Acepilot's server, and "
        "of the same version?",
    )


def _chunk(data: str) -> CompletionResponse:
    if data.startswith('{"error"'):
        failed = _parse(ErrorResponse, data).error
        if failed.code == Overloaded.code:
            raise ServerError("busy", f"The completion server is busy: {failed.message}", retry_after_s=1.0)
        raise ServerError("error", f"The completion server failed: {failed.message}")
    return _parse(CompletionResponse, data)


def _refusal(response: httpx.Response, url: str) -> ServerError:
    """What an error status means for the user."""
    try:
        said = ErrorResponse.model_validate_json(response.content).error.message
    except ValidationError:
        said = f"HTTP {response.status_code}"
    match response.status_code:
        case 401 | 403:
            return ServerError(
                "unauthorized",
                f"The completion server at {url} refuses the token: set ACEPILOT_TOKEN to the server's own.",
            )
        case 429:
            retry_after = response.headers.get("Retry-After", "1")
            seconds = float(retry_after) if retry_after.isdigit() else 1.0
            return ServerError("busy", f"The completion server is busy: {said}", retry_after_s=seconds)
        case 502 | 504:
            return ServerError(
                "off", f"The proxy at {url} cannot reach the completion server ({said}): is it running?"
            )
        case 503:
            return ServerError("loading", f"The completion server is not ready: {said}")
        case 422:
            return ServerError(
                "error",
                "The completion server does not understand this client: use one version of both.",
                refused=True,
            )
        case status:
            refused = 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT
            return ServerError("error", f"The completion server failed: {said}", refused=refused)
