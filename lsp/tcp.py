"""Serve editors over TCP, with a server object for each connection.

pygls' own `start_tcp` shares one object among all connections, and stops at the first disconnect.
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Event

from pygls.io_ import run_async

from lsp.server import AcepilotLanguageServer

logger = logging.getLogger("acepilot.lsp")


async def serve_tcp(new_server: Callable[[], AcepilotLanguageServer], host: str, port: int) -> None:
    """Serve until cancelled. Print the address on stderr; port 0 takes any free port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = new_server()
        server.protocol.set_writer(writer)  # pyright: ignore[reportArgumentType]
        try:
            # In pygls, `exit` ends the process; here it ends this connection only.
            with suppress(SystemExit, ConnectionError, asyncio.IncompleteReadError):
                await run_async(
                    stop_event=Event(),
                    reader=reader,
                    protocol=server.protocol,
                    logger=logging.getLogger("pygls"),
                    error_handler=server.report_server_error,
                )
        finally:
            await server.aclose()
            writer.close()

    listener = await asyncio.start_server(connected, host, port)
    for socket in listener.sockets:
        address = socket.getsockname()
        print(f"Acepilot's language server listens on {address[0]}:{address[1]}", file=sys.stderr, flush=True)
    async with listener:
        await listener.serve_forever()
