"""Serve editors over TCP, with a server object for each connection.

pygls' own `start_tcp` shares one object among all connections, and stops at the first disconnect.

There is no password. A connection ends at the first line that is not an LSP header, as HTTP's first line, so
that no web page can speak to the server. Connections are limited in number, and in what they may send.
"""

import asyncio
import gc
import logging
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from threading import Event

from pygls.io_ import run_async

from lsp.server import AcepilotLanguageServer

MAX_CONNECTIONS = 64  # an editor needs one, a developer a few
MAX_MESSAGE_BYTES = 64_000_000  # a document of 30 MB is opened in one message
MAX_HELD_BYTES = 256_000_000
"""For the messages of over MAX_FIRST_BYTES that all connections are sending."""
BODY_S = 60.0  # for a message to arrive: one that stops in the middle would otherwise be held for ever
MAX_FIRST_BYTES = 1_000_000  # `initialize`
INITIALIZE_S = 10.0  # for `initialize` to arrive: idle connections would otherwise keep their places

_HEADER = re.compile(rb"(?:Content-Length: (\d{1,12})|Content-Type: [^\r\n]*)?\r\n")

logger = logging.getLogger("acepilot.lsp")


class NotLspError(ConnectionError):
    """The client does not speak LSP, or sends more than is accepted."""


class Budget:
    """Counts the bytes that all connections hold for messages that have not arrived as a whole."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def hold(self, count: int) -> Generator[None]:
        """Count `count` bytes meanwhile. Raises NotLspError if too many are held already."""
        counted = count if count > MAX_FIRST_BYTES else 0
        if self._held + counted > MAX_HELD_BYTES:
            raise NotLspError(f"messages of over {MAX_HELD_BYTES:,} bytes at once")
        self._held += counted
        try:
            yield
        finally:
            self._held -= counted


class LspReader:
    """What pygls reads one connection with. Raises NotLspError."""

    def __init__(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: Budget) -> None:
        self.max_bytes = MAX_FIRST_BYTES
        self._stream = stream
        self._writer = writer
        self._budget = budget
        self._first = b""

    async def begin(self) -> None:
        """Wait for the first header."""
        self._first = await self.readline()

    async def readline(self) -> bytes:
        """Return a header with its line end, or nothing at the connection's end."""
        if self._first:
            line, self._first = self._first, b""
            return line
        await self._writer.drain()  # a client that does not read its answers is not read either
        try:
            line = await self._stream.readline()
        except ValueError as error:
            raise NotLspError("a line without an end") from error
        if not line:
            return line
        header = _HEADER.fullmatch(line)
        if header is None:
            raise NotLspError("a line that is not an LSP header")
        if int(header.group(1) or 0) > self.max_bytes:
            raise NotLspError(f"a message of over {self.max_bytes:,} bytes")
        return line

    async def readexactly(self, n: int) -> bytes:
        try:
            with self._budget.hold(n):
                async with asyncio.timeout(BODY_S):
                    return await self._stream.readexactly(n)
        except TimeoutError as error:
            raise NotLspError(f"a message that took over {BODY_S:.0f} s") from error


async def serve_tcp(new_server: Callable[[], AcepilotLanguageServer], host: str, port: int) -> None:
    """Serve until cancelled. Print the address on stderr; port 0 takes any free port."""
    connections = 0
    budget = Budget()
    reasons: set[str] = set()

    def closed(reason: str) -> None:
        if reason not in reasons:  # once each: a client that tries again and again must not fill a disk
            reasons.add(reason)
            logger.warning("A connection was closed: %s. (Each reason is logged once.)", reason)

    async def connected(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            if connections > MAX_CONNECTIONS:
                raise NotLspError(f"the {MAX_CONNECTIONS + 1}th at a time")
            await _serve(new_server, LspReader(stream, writer, budget), writer)
        except TimeoutError:
            closed(f"no `initialize` within {INITIALIZE_S:.0f} s")
        except NotLspError as error:
            closed(str(error))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the editor has gone
        finally:
            connections -= 1
            writer.close()

    listener = await asyncio.start_server(connected, host, port)
    for socket in listener.sockets:
        address = socket.getsockname()
        print(f"Acepilot's language server listens on {address[0]}:{address[1]}", file=sys.stderr, flush=True)
    async with listener:
        await listener.serve_forever()


async def _serve(
    new_server: Callable[[], AcepilotLanguageServer], reader: LspReader, writer: asyncio.StreamWriter
) -> None:
    """Serve one editor until it leaves. Raises TimeoutError if it does not begin."""
    async with asyncio.timeout(INITIALIZE_S) as limit:
        await reader.begin()
        server = new_server()

        def initialized() -> None:
            limit.reschedule(None)
            reader.max_bytes = MAX_MESSAGE_BYTES

        server.on_initialize = initialized
        server.protocol.set_writer(writer)  # pyright: ignore[reportArgumentType]
        try:
            # In pygls, `exit` ends the process; here it ends this connection only.
            with suppress(SystemExit):
                await run_async(
                    stop_event=Event(),
                    reader=reader,
                    protocol=server.protocol,
                    logger=logging.getLogger("pygls"),
                    error_handler=server.report_server_error,
                )
        finally:
            await server.aclose()
            # pygls' objects refer to each other, and would keep their memory.
            asyncio.get_running_loop().call_soon(gc.collect)
