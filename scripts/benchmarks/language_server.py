"""Our contestant as an editor meets it: `python -m lsp` over stdio, spoken to as VS Code speaks to it."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.editor import NoAnswer

WELL = ("ready", "")
"""States of `acepilot/status` in which an empty answer means: nothing to add here."""


class LanguageServer:
    """One language server process and one document at a time. See `Assistant` in editor.py.

    `offered_id` is the completion's that the last answer offered.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """What it says on standard error goes to the end of `log`."""
        self._command = command
        self._log = log
        self.offered_id = ""
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._state = ""
        self._uri = ""
        self._version = 0
        self._before: list[str] = [""]

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def __aenter__(self) -> "LanguageServer":
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # so that its CPU time is counted apart from ours
            )
        self._reader = asyncio.create_task(self._read())
        capabilities: dict[str, Any] = {
            "general": {"positionEncodings": ["utf-16"]},
            "textDocument": {"inlineCompletion": {}, "synchronization": {}},
        }
        folders = [{"uri": "file:///project", "name": "project"}]
        await self._request(
            "initialize",
            {"processId": None, "rootUri": None, "capabilities": capabilities, "workspaceFolders": folders},
        )
        self._notify("initialized", {})
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reader is not None
        with suppress(NoAnswer, TimeoutError, ConnectionError):
            await asyncio.wait_for(self._request("shutdown", None), 5)
            self._notify("exit", None)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._reader.cancel()

    async def open(self, name: str, language: str, before: str, after: str) -> None:
        self._uri, self._version = f"file:///project/{name}", 1
        self._before = before.split("\n")
        document = {"uri": self._uri, "languageId": language, "version": 1, "text": before + after}
        self._notify("textDocument/didOpen", {"textDocument": document})

    def insert(self, text: str) -> None:
        here = self._position()
        first, *rest = text.split("\n")
        self._before[-1] += first
        self._before.extend(rest)
        self._change(here, here, text)

    def delete(self) -> None:
        end = self._position()
        self._before[-1] = self._before[-1][:-1]
        self._change(self._position(), end, "")

    async def ask(self) -> str:
        here = self._position()
        params = {"textDocument": {"uri": self._uri}, "position": here, "context": {"triggerKind": 2}}
        answer = await self._request("textDocument/inlineCompletion", params)
        items: list[dict[str, Any]] = answer["items"] if answer else []
        if not items:
            if self._state not in WELL:
                raise NoAnswer(self._state)
            return ""
        self.offered_id = str(items[0]["command"]["arguments"][0])
        return str(items[0]["insertText"])

    async def close(self) -> None:
        self._notify("textDocument/didClose", {"textDocument": {"uri": self._uri}})

    def _position(self) -> dict[str, int]:
        line = self._before[-1]
        return {"line": len(self._before) - 1, "character": len(line.encode("utf-16-le")) // 2}

    def _change(self, start: dict[str, int], end: dict[str, int], text: str) -> None:
        self._version += 1
        change = {"range": {"start": start, "end": end}, "text": text}
        document = {"uri": self._uri, "version": self._version}
        self._notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})

    async def _request(self, method: str, params: Any) -> Any:
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._send({"id": number, "method": method, "params": params})
        try:
            return await future
        except asyncio.CancelledError:
            self._notify("$/cancelRequest", {"id": number})
            raise
        finally:
            del self._waiting[number]

    def _notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        stream = self._process.stdout
        try:
            while True:
                head = await stream.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                self._take(json.loads(await stream.readexactly(length)))
        except asyncio.IncompleteReadError:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(NoAnswer("the language server has ended"))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            if "id" in message:
                self._send({"id": message["id"], "result": None})
            elif message["method"] == "acepilot/status":
                self._state = message["params"]["state"]
            return
        future = self._waiting.get(message["id"])
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(NoAnswer(str(message["error"].get("message", ""))))
        else:
            future.set_result(message.get("result"))
