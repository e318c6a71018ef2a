"""The completion server's answers, read with suspicion: it may be of any make, broken or hostile.

Texts that are not code become one line of printable characters: safe to show, to log and to print.
"""

from http import HTTPStatus
from typing import Any, Literal, TypeVar, cast

import httpx
from pydantic import BaseModel, ValidationError

from acepilot import __version__
from acepilot.errors import Overloaded
from acepilot.http_answers import retry_after_s
from acepilot.protocol import CompletionResponse, ErrorResponse
from acepilot.untrusted_text import printable

MAX_PAUSE_S = 30.0  # a busy server's Retry-After: after it, one request tries again, whatever the server says
DEFAULT_PAUSE_S = 1.0  # for a busy server that says nothing, or nothing that can be read

State = Literal["ready", "loading", "busy", "slow", "off", "unauthorized", "error"]
_Body = TypeVar("_Body", bound=BaseModel)


class ServerError(Exception):
    """The server cannot complete now. `message` is a sentence for the user; it never holds code.

    `retry_after_s` is how long the server wants no requests, at most MAX_PAUSE_S. `refused` means that the
    server rejected this very request, and would reject it again.
    """

    def __init__(
        self, state: State, message: str, *, retry_after_s: float | None = None, refused: bool = False
    ) -> None:
        super().__init__(message)
        self.state: State = state
        self.message = message
        self.retry_after_s = retry_after_s
        self.refused = refused


def message_of(text: str) -> str:
    """Return a server's text as one line for an editor. VS Code would show `[x](command:y)` as a link."""
    return printable(text).replace("](", "] (")


def parse(model: type[_Body], data: str | bytes) -> _Body:
    try:
        return model.model_validate_json(data)
    except ValidationError:
        # Without a cause: pydantic's message quotes the data, which may be code.
        raise unreadable() from None


def parse_message(model: type[_Body], data: str | bytes) -> _Body:
    """Parse an answer that holds no code. Each text in it may be shown, logged and printed."""
    return model.model_validate(_printable(parse(model, data).model_dump()))


def _printable(value: Any) -> Any:
    match value:
        case str():
            return message_of(value)
        case dict():
            return {name: _printable(item) for name, item in cast("dict[str, Any]", value).items()}
        case list():
            return [_printable(item) for item in cast("list[Any]", value)]
        case _:
            return value


def unreadable() -> ServerError:
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


def parse_chunk(data: str) -> CompletionResponse:
    if data.startswith('{"error"'):
        failed = parse_message(ErrorResponse, data).error
        if failed.code == Overloaded.code:
            raise _busy(failed.message, DEFAULT_PAUSE_S)
        raise ServerError("error", f"The completion server failed: {failed.message}")
    return parse(CompletionResponse, data)


def _busy(message: str, pause_s: float) -> ServerError:
    return ServerError("busy", f"The completion server is busy: {message}", retry_after_s=pause_s)


def error_of(response: httpx.Response, url: str) -> ServerError:
    try:
        message = parse_message(ErrorResponse, response.content).error.message
    except ServerError:
        message = f"HTTP {response.status_code}"
    match response.status_code:
        case 401 | 403:
            return ServerError(
                "unauthorized",
                f"The completion server at {url} refuses the token: set ACEPILOT_TOKEN to the server's.",
            )
        case 429:
            pause_s = retry_after_s(response.headers.get("Retry-After"), DEFAULT_PAUSE_S, MAX_PAUSE_S)
            return _busy(message, pause_s)
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
