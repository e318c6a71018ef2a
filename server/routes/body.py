"""How a route reads its JSON body: limited in structure, and off the event loop if it is large.

Decoding and validation hold the interpreter for as long as they take, so the number of values in a body is
limited, not only its bytes. What a body may have is counted before anything is decoded.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from acepilot.errors import BadRequest

MAX_VALUES = 20_000
"""Values in a body: half as many again as a full batch of events, the largest body of many values, has."""

MAX_DIGITS = 40
"""Characters of a number. JSON's longest useful ones have half as many; Python's conversion takes a time that
grows with their square."""

SMALL_BYTES = 64_000
"""A smaller body is decoded on the event loop, in about a millisecond. Editors send about 60 kB."""


class JsonRoute(APIRoute):
    """A route with a body. Raises BadRequest for one that exceeds MAX_VALUES or MAX_DIGITS."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def with_limits(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return with_limits


class JsonRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        return decoded(body) if len(body) < SMALL_BYTES else await asyncio.to_thread(decoded, body)


def decoded(body: bytes) -> Any:
    """Return the value of a JSON text in UTF-8. Raises JSONDecodeError, UnicodeDecodeError, BadRequest."""
    count = values(body)
    if count > MAX_VALUES:
        raise BadRequest(
            f"The request's body has {count:,} values or more; {MAX_VALUES:,} are allowed. Send fewer."
        )
    return json.loads(body.decode(), parse_int=_int, parse_float=_float)


def _int(digits: str) -> int:
    return int(_short(digits))


def _float(digits: str) -> float:
    return float(_short(digits))


def _short(digits: str) -> str:
    if len(digits) > MAX_DIGITS:
        raise BadRequest(
            f"The request's body has a number of {len(digits):,} digits; {MAX_DIGITS} are allowed. Round it."
        )
    return digits


def values(body: bytes) -> int:
    """Return about how many values a JSON text has; if there are too many strings, at least that many."""
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")  # each remaining `"` begins or ends a string
    quotes = bare.count(b'"')
    if quotes > 4 * MAX_VALUES:
        return quotes // 2
    outside = b"".join(bare.split(b'"')[::2])
    return outside.count(b",") + outside.count(b"[") + outside.count(b"{")
