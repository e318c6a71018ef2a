"""Limits for connections, which uvicorn does not have: how many, and how long they may do nothing.

Without them, a client that only connects, or sends one byte a second, takes all connections from the others.
"""

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Self

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from acepilot.errors import AcepilotError
from acepilot.settings import is_loopback
from server.routes.errors import error_response

MAX_CONNECTIONS = 1_000
"""Each editor needs one or two, and only while it asks."""

ADDRESS_SHARE = 4
"""One address may hold 1/ADDRESS_SHARE of the connections. A proxy has one address for all its users."""

BACKLOG = 128
"""Connections that asyncio accepts at a time, before any of them can be refused; each needs an open file."""

OWN_FILES = 64
"""Open files that are not connections: the log, the events, pipes to the engine."""

_log = structlog.get_logger()


class TooManyConnections(AcepilotError):
    code = "too_many_connections"
    status = 503


class ClientClosed(AcepilotError):
    code = "client_closed"
    status = 400


@dataclass(frozen=True)
class ConnectionLimits:
    """`per_address` is None on loopback, where all clients have the same address."""

    total: int
    per_address: int | None
    header_timeout_s: float

    @classmethod
    def of(cls, host: str, header_timeout_s: float) -> Self:
        """Return the limits for a server on `host`, from the open files that the system allows."""
        total = max(16, min(MAX_CONNECTIONS, (_open_files() - OWN_FILES) // 2))
        per_address = None if is_loopback(host) else total // ADDRESS_SHARE
        return cls(total, per_address, header_timeout_s)


def _open_files() -> int:
    """Raise the limit of open files as far as needed and allowed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + OWN_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised


def connection_class(limits: ConnectionLimits) -> type[H11Protocol]:
    """Return uvicorn's class for a connection, with these limits."""

    held: Counter[str] = Counter()  # by address

    class Connection(H11Protocol):
        _address = ""
        _watcher: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._address = transport.get_extra_info("peername", [""])[0]
            if refusal := _refusal(held, self._address, limits):
                _log.warning("connection_refused", address=self._address, why=refusal.message)
                transport.set_protocol(asyncio.Protocol())
                transport.write(_answer(refusal))
                transport.close()
                return
            held[self._address] += 1
            super().connection_made(transport)
            self._watch_again()

        def connection_lost(self, exc: Exception | None) -> None:
            held.subtract([self._address])
            if not held[self._address]:
                del held[self._address]
            if self._watcher is not None:
                self._watcher.cancel()
            super().connection_lost(exc)

        def eof_received(self) -> None:
            """Say why there is no answer, to a client that only closed its sending side.

            A client that closed the whole connection looks the same, and its completion must end at once.
            """
            super().eof_received()
            if self.cycle and not self.cycle.response_started:
                self.transport.write(_answer(CLIENT_CLOSED))

        def _state(self) -> tuple[object, bool, int]:
            is_idle = not self.cycle or self.cycle.response_complete
            return self.cycle, is_idle, self.transport.get_write_buffer_size()

        def _watch_again(self) -> None:
            self._watcher = self.loop.call_later(limits.header_timeout_s, self._watch, self._state())

        def _watch(self, before: tuple[object, bool, int]) -> None:
            """End the connection if for the whole interval it had no request, or its client read nothing."""
            state = _, is_idle, unsent_bytes = self._state()
            if state == before and (is_idle or unsent_bytes):
                self.transport.abort()
            else:
                self._watch_again()

    return Connection


def _refusal(held: Counter[str], address: str, limits: ConnectionLimits) -> TooManyConnections | None:
    if (count := held.total()) >= limits.total:
        return TooManyConnections(f"This server has {count} connections. Try again in a few seconds.")
    if limits.per_address is None or (count := held[address]) < limits.per_address:
        return None
    return TooManyConnections(
        f"This server has {count} connections from your address. Close those that you do not use."
    )


CLIENT_CLOSED = ClientClosed(
    "The connection's sending side was closed before the answer, which cancels the request: keep it open."
)


def _answer(error: AcepilotError) -> bytes:
    """Return a whole HTTP response, for a connection that has no request in uvicorn."""
    body = error_response(error).model_dump_json().encode()
    reason = "Service Unavailable" if error.status == 503 else "Bad Request"
    head = (
        f"HTTP/1.1 {error.status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
