"""Checks the token and the body's size before a byte of the body is kept, and limits the time for the body.

It also limits the sum of all bodies that the server has in hand, since a text in memory takes several times
what it took on the way. A body counts from its request's arrival to its answer's end.

It is an ASGI middleware, because a framework's own checks run after it has read the whole body.
"""

import asyncio
import secrets
from collections import Counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acepilot.errors import AcepilotError, BodyTooLarge, Overloaded, Unauthorized
from server.client import network_of
from server.routes.body import SMALL_BYTES
from server.routes.errors import as_response

MAX_BODY_BYTES = 4_000_000
"""Twice what prompt and suffix need at their longest. Editors send about 60 kB."""

MAX_HELD_BYTES = 64_000_000
"""All bodies at a time: 1,000 of editors, or 16 of the largest. Bodies under SMALL_BYTES may be twice as much
together with the others: so they are accepted when the large ones have reached the limit."""

CLIENT_SHARE = 4
"""One client may have 1/CLIENT_SHARE of MAX_HELD_BYTES."""

RETRY_AFTER_S = 2
"""Seconds: about what the requests with large bodies take."""


class BodyTooSlow(AcepilotError):
    code = "body_too_slow"
    status = 408


class Guard:
    """`open_paths` need no token. A body that takes longer than `body_timeout_s` is refused."""

    def __init__(
        self, app: ASGIApp, token: str | None, open_paths: frozenset[str], body_timeout_s: float
    ) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode() if token else None
        self._open_paths = open_paths
        self._body_timeout_s = body_timeout_s
        self._held_bytes: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            has_token = self._has_token(headers)
            if not has_token and scope["path"] not in self._open_paths:
                raise Unauthorized(
                    "The request has no token, or a wrong one: send `Authorization: Bearer <ACEPILOT_TOKEN>`."
                )
            scope.setdefault("state", {})["has_token"] = has_token
            length = headers.get(b"content-length", b"0")
            held_bytes = int(length) if length.isdigit() else 0
            client = network_of(scope)
            self._hold(client, held_bytes, held_bytes)
        except AcepilotError as error:
            await as_response(error)(scope, receive, send)
            return
        received_bytes = 0
        is_whole = False
        deadline = asyncio.get_running_loop().time() + self._body_timeout_s

        async def counted() -> Message:
            nonlocal held_bytes, received_bytes, is_whole
            if is_whole:  # from now on the app waits only for the client to leave
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow(
                    f"The request's body did not arrive within {self._body_timeout_s:.0f} s. Send it again."
                ) from None
            received_bytes += len(message.get("body", b""))
            if received_bytes > held_bytes:  # the header did not say how many there are
                self._hold(client, received_bytes - held_bytes, received_bytes)
                held_bytes = received_bytes
            is_whole = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held_bytes -= Counter({client: held_bytes})

    def _hold(self, client: str, more_bytes: int, body_bytes: int) -> None:
        """Count `more_bytes` of a body of `body_bytes` so far. Raises BodyTooLarge, Overloaded."""
        if body_bytes > MAX_BODY_BYTES:
            raise BodyTooLarge(
                f"The request's body is over {MAX_BODY_BYTES // 1_000_000} MB. Send less of the file."
            )
        limit = MAX_HELD_BYTES if body_bytes > SMALL_BYTES else 2 * MAX_HELD_BYTES
        of_client, of_all = self._held_bytes[client], self._held_bytes.total()
        if of_client + more_bytes > limit // CLIENT_SHARE or of_all + more_bytes > limit:
            raise Overloaded(
                f"The server has {of_all / 1e6:.0f} MB of requests in hand, {of_client / 1e6:.0f} MB of them "
                f"yours: try again in {RETRY_AFTER_S} s, or send fewer large requests at a time.",
                retry_after_s=RETRY_AFTER_S,
            )
        if more_bytes:
            self._held_bytes[client] += more_bytes

    def _has_token(self, headers: dict[bytes, bytes]) -> bool:
        """Return True also if the server has no token: it then answers only on loopback."""
        return self._expected is None or secrets.compare_digest(
            headers.get(b"authorization", b""), self._expected
        )
