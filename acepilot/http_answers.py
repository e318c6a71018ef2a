"""What another server's answer may cost: limited bytes, not compressed, and no cookies.

A few kilobytes of gzip become a gigabyte, and a body may have no end. With `limit_answers` as the event hooks
of an httpx client, every answer is limited: errors, health checks and streams too. The caller limits times.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

DEFAULT_MAX_BYTES = 16_000_000
"""The limit for a server that the owner chose. The log probabilities of 32,000 tokens are about 5 MB."""


class AnswerTooLarge(httpx.TransportError):
    """The answer is longer than its reader accepts, or compressed, which was not asked for."""


def no_cookies() -> CookieJar:
    """Return a cookie jar that stays empty.

    httpx keeps all cookies of a server by default, without a limit, and sends them with each request.
    """
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def limit_answers(max_bytes: int = DEFAULT_MAX_BYTES) -> dict[str, list[Callable[[Any], Awaitable[None]]]]:
    """Return event hooks for httpx.AsyncClient. Reading an answer then raises AnswerTooLarge at the limit."""

    async def ask_for_plain_bytes(request: httpx.Request) -> None:
        request.headers["Accept-Encoding"] = "identity"

    async def limit(response: httpx.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise AnswerTooLarge("The answer is compressed.", request=response.request)
        # JSON and event streams are UTF-8. A server's choice of codec would be any of Python's, bz2 included.
        response.encoding = "utf-8"
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _LimitedStream(response.stream, response.request, max_bytes)

    return {"request": [ask_for_plain_bytes], "response": [limit]}


class _LimitedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, request: httpx.Request, max_bytes: int) -> None:
        self._stream = stream
        self._request = request
        self._left = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise AnswerTooLarge("The answer is too long.", request=self._request)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def retry_after_s(header: str | None, default_s: float, max_s: float) -> float:
    """Return the seconds of a `Retry-After` header: a number or an HTTP date, at most `max_s`.

    `default_s` is for a header that is missing or means nothing.
    """
    text = (header or "").strip()
    try:
        if text.isascii() and text.isdigit():
            seconds = float(text)
        else:
            seconds = (parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError, OSError):
        return default_s
    return min(max(seconds, 0.0), max_s)
