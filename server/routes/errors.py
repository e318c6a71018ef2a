"""Answers every failure in OpenAI's form: `{"error": {"message", "type", "code", "param"}}`."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from acepilot.errors import AcepilotError, BadRequest, Overloaded, ServerNotReady
from acepilot.protocol import ErrorBody, ErrorResponse

LOADING_RETRY_AFTER_S = 2
"""Retry-After while the model loads: long enough not to burden the server, short enough for an editor."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left. No client reads it, but a log may show it."""


MAX_NAMED = 10
"""Wrong fields that an answer names; a client that has more wrong is not written for this protocol."""

MAX_REASON_CHARS = 200
"""Characters of a wrong field's name, which the client chose, and of what is wrong."""


def error_response(error: AcepilotError) -> ErrorResponse:
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    body = ErrorBody(message=error.message, type=kind, code=error.code, param=error.field)
    return ErrorResponse(error=body)


def as_response(error: AcepilotError) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, ServerNotReady):
        headers["Retry-After"] = str(LOADING_RETRY_AFTER_S)
    elif error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif error.status == 408:
        headers["Connection"] = "close"  # else the rest of the body would be read as the next request
    return JSONResponse(error_response(error).model_dump(), status_code=error.status, headers=headers)


async def _acepilot_error(request: Request, error: AcepilotError) -> Response:
    return as_response(error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    """Name the first wrong fields. The answer does not quote the request, which may hold code."""
    errors = error.errors()
    found = [
        (_short(".".join(str(part) for part in item["loc"][1:])), _short(item["msg"]))
        for item in errors[:MAX_NAMED]
    ]
    message = "; ".join(f"{field or 'body'}: {why}" for field, why in found)
    if len(errors) > MAX_NAMED:
        message += f"; and {len(errors) - MAX_NAMED:,} more"
    first = next((field for field, _ in found if field), None)
    return as_response(BadRequest(message, field=first))


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 1] + "…"


async def _http_error(request: Request, error: HTTPException) -> Response:
    if isinstance(error.__cause__, AcepilotError):  # FastAPI wraps errors that reading a body raises
        return as_response(error.__cause__)
    body = ErrorBody(message=str(error.detail), type="invalid_request_error", code="http_error")
    answer = ErrorResponse(error=body).model_dump()
    return JSONResponse(answer, status_code=error.status_code, headers=error.headers)


async def _client_left(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


ERROR_HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    AcepilotError: _acepilot_error,
    RequestValidationError: _validation_error,
    HTTPException: _http_error,
    ClientDisconnect: _client_left,
}
