"""Event streams: answers whose bytes arrive in pieces, and a reader of whole answers; for tests."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
from httpx_sse import EventSource

SEPARATORS = "\u2028\u2029\x85"
"""Line ends for Python and for httpx, but neither for JSON nor for an event stream."""


def cut_answers(raw: bytes) -> Iterator[httpx.Response]:
    """One with `raw` cut in two for each place to cut it, and one of single bytes."""
    for place in range(1, len(raw)):
        yield event_stream(raw[:place], raw[place:])
    yield event_stream(*(raw[place : place + 1] for place in range(len(raw))))


def event_stream(*pieces: bytes, content_type: str = "text/event-stream") -> httpx.Response:
    """An answer of these pieces, each of which is read by itself."""
    return httpx.Response(200, headers={"Content-Type": content_type}, content=_one_by_one(pieces))


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The JSON of each event of a whole stream; its last event must be [DONE]."""
    *events, last = EventSource(response).iter_sse()
    assert last.data == "[DONE]"
    return [event.json() for event in events]


async def _one_by_one(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
