"""Tabby's agent as a process, spoken to as editors' plugins do: in lines of JSON, or in LSP."""

import itertools
import json
import os
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any, BinaryIO, Self

PATIENCE_S = 60

CONFIG = """\
[server]
endpoint = "{url}"

[anonymousUsageTracking]
disable = true
"""


class Agent:
    """A process that reads and writes messages; what it says is read by a thread, in order.

    It is told the server's address as its users tell it: by a file in their home, which is `folder` here.
    """

    def __init__(self, command: list[str], folder: Path, url: str) -> None:
        config = folder / ".tabby-client" / "agent" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(CONFIG.format(url=url))
        self._log = (folder / "agent.log").open("wb")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._from: BinaryIO = self._process.stdout  # type: ignore[assignment]
        self._numbers = itertools.count(1)
        self._said: queue.Queue[Any] = queue.Queue()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self._greet()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        self._reader.join(timeout=20)
        self._to.close()
        self._from.close()
        self._log.close()

    def heard(self) -> Any:
        """The next message."""
        return self._said.get(timeout=PATIENCE_S)

    def _listen(self) -> None:
        while (message := self._read()) is not None:
            self._said.put(message)

    def _greet(self) -> None:
        raise NotImplementedError

    def _read(self) -> Any:
        raise NotImplementedError


class JsonLinesAgent(Agent):
    """`[id, {"func", "args"}]` one way, `[id, result]` and `[0, event]` the other."""

    def _greet(self) -> None:
        assert self.call("initialize", {}) is True

    def call(self, function: str, *arguments: object) -> Any:
        number = next(self._numbers)
        line = json.dumps([number, {"func": function, "args": arguments}])
        self._to.write(line.encode() + b"\n")
        self._to.flush()
        while True:
            answered, result = self.heard()
            if answered == number:
                return result

    def _read(self) -> Any:
        line = self._from.readline()
        return json.loads(line) if line else None


class LspAgent(Agent):
    def __init__(self, command: list[str], folder: Path, url: str) -> None:
        super().__init__([*command, "--lsp", "--stdio"], folder, url)

    def _greet(self) -> None:
        client = {"name": "acepilot-tests", "version": "0"}
        self.ask("initialize", {"processId": None, "rootUri": None, "clientInfo": client, "capabilities": {}})
        self.tell("initialized", {})

    def ask(self, method: str, params: object) -> Any:
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self.heard()
            if "method" in message:
                if "id" in message:  # the agent asks for something: it is told nothing, and does without
                    self._send({"id": message["id"], "result": None})
            elif message["id"] == number:
                assert "error" not in message, message
                return message["result"]

    def tell(self, method: str, params: object) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._to.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._to.flush()

    def _read(self) -> Any:
        length = 0
        while line := self._from.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(self._from.read(length)) if length else None
