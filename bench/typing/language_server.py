"""Our language server as an editor runs it: `python -m lsp` over stdio, with the messages of VS Code."""

import asyncio
import itertools
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.io_ import run_async
from pygls.lsp.client import LanguageClient

from bench.typing.editor import NoAnswer

WELL = ("ready", "")
"""States of `acepilot/status` in which an empty answer means that there is nothing to add; "" comes before
the first status."""


class _PlainFrames:
    """Send messages as VS Code does, with Content-Length as the only header.

    pygls would add a Content-Type, one more line for the language server to read: 0.3 ms a keystroke.
    """

    def __init__(self, stdin: asyncio.StreamWriter) -> None:
        self._stdin = stdin

    def write(self, data: bytes) -> None:
        self._stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))

    def close(self) -> None:
        self._stdin.close()


class LanguageServer:
    """One language server process with one open document. It is an `Assistant` of editor.py.

    `offered_id` is the id of the completion in the last answer.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """The server's standard error is appended to `log`."""
        self._command = command
        self._log = log
        self.offered_id = ""
        self._client = LanguageClient("acepilot-benchmarks", "1")
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._state = ""
        self._uri = ""
        self._version = 0
        self._before: list[str] = [""]

        def keep_state(status: Any) -> None:
            self._state = status.state

        def ignore(_: types.LogMessageParams) -> None:
            """Ignore log messages: pygls warns about every notification without a handler."""

        self._client.feature("acepilot/status")(keep_state)
        self._client.feature(types.WINDOW_LOG_MESSAGE)(ignore)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def __aenter__(self) -> "LanguageServer":
        # pygls' `start_io` would keep standard error in a pipe and hide the process id.
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # its CPU time is counted apart from ours
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        protocol = self._client.protocol
        protocol.set_writer(_PlainFrames(self._process.stdin), include_headers=False)
        self._reader = asyncio.create_task(run_async(threading.Event(), self._process.stdout, protocol))
        capabilities = types.ClientCapabilities(
            general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind.Utf16]),
            text_document=types.TextDocumentClientCapabilities(
                inline_completion=types.InlineCompletionClientCapabilities(),
                synchronization=types.TextDocumentSyncClientCapabilities(),
            ),
        )
        folders = [types.WorkspaceFolder("file:///project", "project")]
        try:
            await self._request(
                types.INITIALIZE, types.InitializeParams(capabilities, workspace_folders=folders)
            )
        except BaseException:
            await self.__aexit__()  # which Python calls only after a beginning that succeeded
            raise
        self._client.initialized(types.InitializedParams())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reader is not None
        with suppress(NoAnswer, TimeoutError):
            await asyncio.wait_for(self._request(types.SHUTDOWN, None), 5)
            self._client.exit(None)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def open(self, name: str, language: str, before: str, after: str) -> None:
        self._uri, self._version = f"file:///project/{name}", 1
        self._before = before.split("\n")
        document = types.TextDocumentItem(self._uri, language, self._version, before + after)
        self._client.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def insert(self, text: str) -> None:
        here = self._position()
        first, *rest = text.split("\n")
        self._before[-1] += first
        self._before.extend(rest)
        self._change(types.Range(here, here), text)

    def delete(self) -> None:
        end = self._position()
        self._before[-1] = self._before[-1][:-1]
        self._change(types.Range(self._position(), end), "")

    async def ask(self) -> str:
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
            types.TextDocumentIdentifier(self._uri),
            self._position(),
        )
        answer = await self._request(types.TEXT_DOCUMENT_INLINE_COMPLETION, params)
        if not answer or not answer.items:
            if self._state not in WELL:
                raise NoAnswer(self._state)
            return ""
        item = answer.items[0]
        self.offered_id = str(item.command.arguments[0])
        return str(item.insert_text)

    async def close(self) -> None:
        document = types.TextDocumentIdentifier(self._uri)
        self._client.text_document_did_close(types.DidCloseTextDocumentParams(document))

    def _position(self) -> types.Position:
        return types.Position(len(self._before) - 1, len(self._before[-1].encode("utf-16-le")) // 2)

    def _change(self, range_: types.Range, text: str) -> None:
        self._version += 1
        self._client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self._version, self._uri),
                [types.TextDocumentContentChangePartial(range_, text)],
            )
        )

    async def _request(self, method: str, params: Any) -> Any:
        assert self._reader is not None
        number = next(self._numbers)
        answer = asyncio.wrap_future(self._client.protocol.send_request(method, params, msg_id=number))
        try:
            await asyncio.wait([answer, self._reader], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            answer.add_done_callback(
                lambda late: late.exception()
            )  # asyncio warns about an exception that is never read
            self._client.cancel_request(types.CancelParams(number))
            raise
        if not answer.done():
            raise NoAnswer("the language server has ended")
        try:
            return answer.result()
        except JsonRpcException as error:
            raise NoAnswer(error.message) from error
