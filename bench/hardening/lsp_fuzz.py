"""Send the language server messages that no editor should send; for fuzz.py."""

import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import IO, Any, cast

from bench.hardening.lsp_messages import BROKEN_FRAMES, TEXTS, Fuzzer, frame

MESSAGES_A_PROCESS = 200
PATIENCE_S = 20.0
"""Seconds for an answer, and for a process to end."""
SECRET = next(text for text in TEXTS if text.startswith("def")).splitlines()[0]
"""A piece of the fuzzer's documents that must never appear on standard error."""


@dataclass
class Outcome:
    """The result. `failures` has a sentence for each failure, with the seed that reproduces it."""

    inputs: int = 0
    answers: int = 0
    failures: list[str] = field(default_factory=list[str])


def fuzz_language_server(server_url: str, messages: int, seed: int) -> Outcome:
    """Send well-framed messages, many to a process; then each broken frame to a process of its own."""
    outcome = Outcome()
    for number in itertools.count(seed):
        if outcome.inputs >= messages:
            break
        _one_process(server_url, number, outcome)
    for broken in BROKEN_FRAMES:
        _broken_frame(server_url, broken, outcome)
    return outcome


def _one_process(server_url: str, seed: int, outcome: Outcome) -> None:
    fuzzer = Fuzzer(seed)
    numbers: list[Any] = [1, 2] if seed % 4 else [2]  # the fuzzer also draws 1 as an id
    with _language_server(server_url) as server:
        if seed % 4:  # one process in four never gets `initialize`
            server.send(_request(1, "initialize", {"processId": None, "rootUri": None, "capabilities": {}}))
        for _ in range(MESSAGES_A_PROCESS):
            body = fuzzer.body()
            if not server.write(frame(body)):
                break
            outcome.inputs += 1
            numbers += _request_ids(body)
        server.send({"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": _document()})
        where = {"textDocument": {"uri": "file:///last.py"}, "position": {"line": 0, "character": 6}}
        context = {"context": {"triggerKind": 1}}
        server.send(_request(2, "textDocument/inlineCompletion", where | context))
        answered = server.answer(2)
        outcome.answers += sum(server.answers.values())
        if answered and (wrong := server.not_answered_once(numbers)):
            outcome.failures.append(f"seed {seed}: requests without exactly one response: {wrong[:5]}.")
        if not answered:
            state = "has ended" if server.process.poll() is not None else "does not answer"
            outcome.failures.append(f"seed {seed}: after {MESSAGES_A_PROCESS} messages it {state}.")
        if SECRET in server.standard_error():
            outcome.failures.append(f"seed {seed}: text of a document was printed to standard error.")


def _broken_frame(server_url: str, broken: bytes, outcome: Outcome) -> None:
    """Send a broken frame. The server cannot find the next message: it may end but must not hang."""
    with _language_server(server_url) as server:
        server.send(_request(1, "initialize", {"processId": None, "rootUri": None, "capabilities": {}}))
        server.answer(1)
        server.write(broken)
        outcome.inputs += 1
        assert server.process.stdin is not None
        server.process.stdin.close()
        try:
            server.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            outcome.failures.append(f"after {broken[:40]!r} and the end of its input it keeps running.")


def _request_ids(body: bytes) -> list[Any]:
    """Return the id of a body that is a request, as a list of at most one."""
    with suppress(ValueError, RecursionError):
        message = json.loads(body)
        if isinstance(message, dict) and {"id", "method"} <= message.keys():
            number = cast("dict[str, Any]", message)["id"]
            return [number if isinstance(number, int | str) and not isinstance(number, bool) else None]
    return []


def _request(number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _document() -> dict[str, Any]:
    text = {"uri": "file:///last.py", "languageId": "python", "version": 1, "text": "value \n"}
    return {"textDocument": text}


class _Server:
    """One process. A thread reads its answers, so that neither side waits for the other."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
        self.process = process
        self.answers: Counter[Any] = Counter()
        self._log = log
        self._ids: Queue[Any] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, message: dict[str, Any]) -> bool:
        return self.write(frame(json.dumps(message).encode()))

    def write(self, raw: bytes) -> bool:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(raw)
            self.process.stdin.flush()
        except OSError:
            return False
        return True

    def answer(self, number: int) -> bool:
        """Return whether the request was answered, with a result or an error."""
        try:
            while self._ids.get(timeout=PATIENCE_S) != number:
                pass
        except Empty:
            return False
        return True

    def not_answered_once(self, numbers: Sequence[Any]) -> list[Any]:
        """Return the ids that got too few or too many responses. Wait for the last ones."""
        wanted = Counter(numbers)
        deadline_s = time.monotonic() + PATIENCE_S
        while (wanted - self.answers) and time.monotonic() < deadline_s:
            with suppress(Empty):
                self._ids.get(timeout=0.1)
        return [number for number in wanted if self.answers[number] != wanted[number]]

    def standard_error(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while line := stream.readline():
            if not line.lower().startswith(b"content-length:"):
                continue
            length = int(line.partition(b":")[2])
            while stream.readline().strip():
                pass
            message = json.loads(stream.read(length))
            if "method" not in message:
                self.answers[message.get("id")] += 1
                self._ids.put(message.get("id"))


@contextmanager
def _language_server(server_url: str) -> Generator[_Server]:
    command = [sys.executable, "-m", "lsp", "--server-url", server_url]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            yield _Server(process, log)
        finally:
            process.kill()
            process.wait()
