"""Checks the token and the body's size before a byte of the body is kept, and limits the time for the body.

It is an ASGI middleware, because a framework's own checks run after it has read the whole body.
"""

import asyncio
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acepilot.errors import AcepilotError, BodyTooLarge, Unauthorized
from server.routes.errors import as_response

MAX_BODY_BYTES = 4_000_000
"""Twice what prompt and suffix need at their longest. Editors send about 60 kB."""


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
            _check_size(int(length) if length.isdigit() else 0)
        except AcepilotError as error:
            await as_response(error)(scope, receive, send)
            return
        received_bytes = 0
        is_whole = False
        deadline = asyncio.get_running_loop().time() + self._body_timeout_s

        async def counted() -> Message:
            nonlocal received_bytes, is_whole
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
            _check_size(received_bytes)
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, counted, send)

    def _has_token(self, headers: dict[bytes, bytes]) -> bool:
        """Return True also if the server has no token: it then answers only on loopback."""
        return self._expected is None or secrets.compare_digest(
            headers.get(b"authorization", b""), self._expected
        )


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_BODY_BYTES:
        raise BodyTooLarge(
            f"The request's body is over {MAX_BODY_BYTES // 1_000_000} MB. Send less of the file."
        )
