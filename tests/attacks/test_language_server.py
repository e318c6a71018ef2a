"""The language server against a hostile completion server, a web page, and malformed requests."""

import asyncio
import gzip
import json
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types

from acepilot.cli import print_error
from acepilot.errors import ConfigError
from acepilot.events import EventBatch
from acepilot.languages import language_for
from acepilot.postprocess.chain import STOPS, finish
from acepilot.postprocess.context import Context
from acepilot.protocol import AcepilotInfo, Choice, CompletionRequest, CompletionResponse, Ready
from lsp.client import ClientLimits, CompletionClient
from lsp.doctor import examine
from lsp.feedback.offer import Offer
from lsp.feedback.survival import AcceptedText
from lsp.server import AcepilotLanguageServer
from lsp.settings import LspSettings
from lsp.tcp import serve_tcp
from lsp.text.documents import Documents
from server.engine.base import Delta
from server.engine.upstream.replica import Replica, TimeLimits, make_client
from server.stop_monitor import StopMonitor
from tests.event_stream import chunks_of
from tests.lsp import conftest as editors
from tests.lsp.editor import AUTOMATIC
from tests.lsp.fake_server import FakeServer
from tests.server.conftest import RunningServer, ScriptedEngine

connect = editors.connect  # a fixture

SENT_AT_MOST = 64_000_000  # bytes of an endless answer: the old client would have read them all
HELD_AT_MOST = 32_000_000
"""Bytes that leave the server before a client gives up: its limit, and both sockets' buffers, which grow."""
REQUEST = CompletionRequest(prompt="x = ", path="a.py")
STREAM = {"Content-Type": "text/event-stream"}


@dataclass
class HostileServer:
    """Answers requests with `status`, `headers` and the pieces of `body(path)`, and counts the bytes sent."""

    body: Callable[[str], Iterable[bytes]]
    headers: dict[str, str] = field(default_factory=dict[str, str])
    status: int = 200
    sent: int = 0
    encodings: list[str | None] = field(default_factory=list[str | None])
    cookies: list[str | None] = field(default_factory=list[str | None])

    def __post_init__(self) -> None:
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hostile.encodings.append(self.headers["Accept-Encoding"])
                hostile.cookies.append(self.headers["Cookie"])
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                self.send_response(hostile.status)
                for name, value in hostile.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # the client has gone
                    for piece in hostile.body(self.path):
                        self.wfile.write(piece)
                        hostile.sent += len(piece)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def settings(self) -> LspSettings:
        return LspSettings.load({"server_url": self.url})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hostile() -> Iterator[Callable[..., HostileServer]]:
    servers: list[HostileServer] = []

    def start(*given: Any, **options: Any) -> HostileServer:
        servers.append(HostileServer(*given, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def endless(_: str) -> Iterator[bytes]:
    for _ in range(SENT_AT_MOST // 65_536):
        yield b" " * 65_536


async def stream(client: CompletionClient) -> None:
    async for _ in client.stream(REQUEST):
        pass


READS: dict[str, Callable[[CompletionClient], Awaitable[object]]] = {
    "check": lambda client: client.check(),
    "version": lambda client: client.version(),
    "stream": stream,
    "complete": lambda client: client.complete(REQUEST),
    "events": lambda client: client.send_events(EventBatch(events=[])),
    "explain": lambda client: client.explain("cmpl-1"),
}


async def failure(reading: Awaitable[object]) -> Any:
    """Return the ServerError that `reading` raises within ten seconds."""
    async with asyncio.timeout(10):
        try:
            await reading
        except Exception as error:
            if isinstance(error, TimeoutError):
                raise
            return error
    raise AssertionError("no error")


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("read", READS)
async def test_an_answer_without_an_end_is_not_read_to_its_end(
    hostile: Callable[..., HostileServer], read: str, status: int
) -> None:
    server = hostile(endless, STREAM if read == "stream" else {}, status)
    client = CompletionClient(server.settings)
    error = await failure(READS[read](client))
    await client.aclose()
    assert error.state in ("error", "off")  # "off" if even the first megabyte takes too long
    assert server.sent < HELD_AT_MOST


@pytest.mark.asyncio
async def test_a_stream_of_endless_events_ends(hostile: Callable[..., HostileServer]) -> None:
    chunk = CompletionResponse(id="c", created=0, model="m", choices=[Choice(index=0, text="x")])
    piece = f"data: {chunk.model_dump_json(exclude_none=True)}\n\n".encode() * 100
    server = hostile(lambda _: (piece for _ in range(SENT_AT_MOST // len(piece))), STREAM)
    client = CompletionClient(server.settings)
    await failure(stream(client))
    await client.aclose()
    assert server.sent < HELD_AT_MOST


@pytest.mark.asyncio
async def test_a_compressed_answer_is_neither_asked_for_nor_unpacked(
    hostile: Callable[..., HostileServer],
) -> None:
    bomb = gzip.compress(b" " * SENT_AT_MOST)
    server = hostile(lambda _: [bomb], {"Content-Encoding": "gzip"})
    client = CompletionClient(server.settings)
    tracemalloc.start()
    try:
        await failure(client.check())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        await client.aclose()
    assert server.encodings == ["identity"]
    assert peak < HELD_AT_MOST


@pytest.mark.asyncio
@pytest.mark.parametrize("read", ["check", "version"])
async def test_an_answer_that_drips_is_given_up(hostile: Callable[..., HostileServer], read: str) -> None:
    over = threading.Event()

    def drip(_: str) -> Iterator[bytes]:
        while not over.wait(0.1):
            yield b" "

    client = CompletionClient(hostile(drip).settings, ClientLimits(connect_s=0.5))
    try:
        error = await failure(READS[read](client))
    finally:
        over.set()
        await client.aclose()
    assert error.state == "off"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "header", ["86400", "9" * 400, "Fri, 31 Dec 2199 23:59:59 GMT", "-1", "nan", "\xb2", "soon", ""]
)
async def test_no_server_can_ask_for_a_long_pause(hostile: Callable[..., HostileServer], header: str) -> None:
    server = hostile(lambda _: [b"{}"], {"Retry-After": header}, 429)
    client = CompletionClient(server.settings)
    error = await failure(stream(client))
    await client.aclose()
    assert error.state == "busy"
    assert 0 <= error.retry_after_s <= 30
    assert (error.retry_after_s == 30) == (header[:1] in "98F" and header != "")


@pytest.mark.asyncio
async def test_a_pause_ends_with_the_first_success_and_says_when_it_ends(
    fake: FakeServer,
    connect: editors.Connect,
    hostile: Callable[..., HostileServer],
) -> None:
    ready = Ready(status="ready", model="m", engine="e").model_dump_json().encode()
    chunk = CompletionResponse(id="c", created=0, model="m", choices=[Choice(index=0, text="os.stat(path)")])
    events = f"data: {chunk.model_dump_json(exclude_none=True)}\n\ndata: [DONE]\n\n".encode()
    server = hostile(lambda path: [ready if path == "/ready" else b"{}"], {"Retry-After": "86400"}, 429)
    editor = await connect("--server-url", server.url)
    editor.open("import os\n\n\nx = \n", (3, 4))
    assert await editor.text(AUTOMATIC) is None
    await editor.until(lambda: "until" in editor.reason)
    assert "pause until" in editor.reason
    assert await editor.text(AUTOMATIC) is None
    server.status, server.headers = 200, STREAM
    server.body = lambda path: [events if path == "/v1/completions" else ready]
    assert await editor.text() == "os.stat(path)"
    editor.open("import os\n\n\ny = \n", (3, 4), name="b.py")
    assert await editor.text(AUTOMATIC) == "os.stat(path)"


HIDDEN = "a\x1b[31m\x00\x07b\x9b\u202ec\u2066d\u2069\u200be\ufeff\U000e0041f\r\x7f"
SPELLED = "'👩🏽‍💻 ❤️ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 می‌خواهم क्‍ष'"


@pytest.mark.asyncio
@pytest.mark.parametrize("cut", [1, 2, 100])
async def test_hidden_characters_of_any_server_are_not_inserted(
    hostile: Callable[..., HostileServer], cut: int
) -> None:
    text = HIDDEN + SPELLED
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    chunks = [
        CompletionResponse(id="c", created=0, model="m", choices=[Choice(index=0, text=piece)])
        for piece in pieces
    ]
    data = "".join(f"data: {chunk.model_dump_json(exclude_none=True)}\n\n" for chunk in chunks)
    server = hostile(lambda _: [f"{data}data: [DONE]\n\n".encode()], STREAM)
    client = CompletionClient(server.settings)
    got = "".join([chunk.choices[0].text async for chunk in client.stream(REQUEST)])
    assert got == "a[31mbcdef" + SPELLED
    known = CompletionRequest(prompt="# \u202e\nx = ", path="a.py")
    got = "".join([chunk.choices[0].text async for chunk in client.stream(known)])
    assert got == "a[31mb\u202ecdef" + SPELLED
    whole = CompletionResponse(id="c", created=0, model="m", choices=[Choice(index=0, text=text)])
    server.body, server.headers = lambda _: [whole.model_dump_json().encode()], {}
    assert (await client.complete(REQUEST)).choices[0].text == "a[31mbcdef" + SPELLED
    await client.aclose()


@pytest.mark.parametrize("cut", [1, 100])
def test_our_server_neither_streams_nor_offers_hidden_characters(cut: int) -> None:
    context = Context("x = '", "'\n", language_for("python"), "line")
    text = HIDDEN + SPELLED.strip("'")
    monitor = StopMonitor((), context, STOPS, None)
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    shown = "".join(
        monitor.feed(Delta(piece, 1, "stop" if number == len(pieces) else None))
        for number, piece in enumerate(pieces, start=1)
    )
    assert shown == "a[31mbcdef" + SPELLED.strip("'")
    assert finish(monitor.generated.text, context, truncated=False).text == shown


def test_over_http_hidden_characters_are_neither_streamed_nor_offered_and_the_trail_counts_them() -> None:
    with RunningServer(ScriptedEngine(f"1 + 'a\u202eb\x1b[31m' + {SPELLED}")) as server:
        expected = f"1 + 'ab[31m' + {SPELLED}"
        *_, last = chunks = chunks_of(server.complete(prompt="x = ", language="python", stream=True))
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"]) == expected
        assert last["acepilot"]["text"] == expected
        filters = server.get(f"/v1/explain/{last['id']}").json()["filters"]
        assert {"name": "hidden_characters", "removed_chars": 2, "dropped": False} in filters
        raw = server.complete(prompt="x = ", mode="raw").json()["choices"][0]["text"]
        assert "\x1b" in raw  # what was asked for, unchanged


@pytest.mark.asyncio
async def test_an_upstream_s_answers_are_limited_too(hostile: Callable[..., HostileServer]) -> None:
    server = hostile(endless)
    async with make_client(None) as client:
        replica = Replica(server.url, "m", client, TimeLimits(health=30.0))
        await replica.check()
    assert "16 MB" in replica.trouble
    assert server.sent < 16_000_000 + HELD_AT_MOST


@pytest.mark.asyncio
async def test_a_completion_stays_inside_the_fence_of_its_documentation(
    fake: FakeServer,
    connect: editors.Connect,
) -> None:
    fake.text = "1\n```\n![](http://evil.example/x.png)\n`````\n[click](command:x)"
    editor = await connect(inline=False)
    editor.open("x = \n", (0, 4))
    params = types.CompletionParams(types.TextDocumentIdentifier(editor.uri), types.Position(0, 4))
    answer = await editor.client.text_document_completion_async(params)
    assert isinstance(answer, types.CompletionList)
    documentation = answer.items[0].documentation
    assert isinstance(documentation, types.MarkupContent)
    assert documentation.kind == types.MarkupKind.Markdown
    first, *code, last = documentation.value.split("\n")
    assert first == f"{last}python"
    assert set(last) == {"`"}
    # In CommonMark, a line of at least as many backticks, with white space around them, ends the block.
    assert not [line for line in code if line.strip().startswith(last)]
    assert "\n".join(code) == fake.text


SOON_S = 1.0
"""For work that stops all completions meanwhile. The attacks took ten times as long."""


def completion_events(text: str, final: str | None = None) -> bytes:
    info = None if final is None else AcepilotInfo(text=final)
    chunk = CompletionResponse(
        id="c", created=0, model="m", choices=[Choice(index=0, text=text)], acepilot=info
    )
    return f"data: {chunk.model_dump_json(exclude_none=True)}\n\ndata: [DONE]\n\n".encode()


@pytest.mark.asyncio
@pytest.mark.parametrize("final", [None, "x y\n" * 50_000])
async def test_a_completion_is_cut_and_the_doctor_prints_a_short_form(
    hostile: Callable[..., HostileServer], final: str | None
) -> None:
    server = hostile(lambda _: [completion_events("x y\n" * 50_000, final)], STREAM)
    client = CompletionClient(server.settings)
    chunks = [chunk async for chunk in client.stream(REQUEST)]
    assert sum(len(chunk.choices[0].text) for chunk in chunks) == 10_000
    assert all(len(chunk.acepilot.text or "") == 10_000 for chunk in chunks if chunk.acepilot is not None)
    await client.aclose()
    bodies = {
        "/ready": Ready(status="ready", model="m", engine="e").model_dump_json().encode(),
        "/v1/models": b'{"object": "list", "data": []}',
        "/v1/completions": completion_events("1\n" * 100),
    }
    server.body = lambda path: [bodies.get(path, b"{}")]
    (seen,) = [check.seen for check in await examine(server.settings) if check.name == "completion"]
    assert len(seen) < 200
    assert "\n" not in seen


@pytest.mark.asyncio
async def test_a_server_cannot_offer_more_candidates_than_were_asked_for(
    hostile: Callable[..., HostileServer],
) -> None:
    choices = [Choice(index=2**40 + number, text=f"{number} " * 10_000) for number in range(20)]
    whole = CompletionResponse(id="c" * 1_000, created=0, model="m" * 1_000, choices=choices)
    server = hostile(lambda _: [whole.model_dump_json().encode()])
    client = CompletionClient(server.settings)
    response = await client.complete(REQUEST.model_copy(update={"n": 2}))
    await client.aclose()
    assert [len(choice.text) for choice in response.choices] == [10_000, 10_000]
    assert response.id == ""
    assert len(response.model) < 200


@pytest.mark.asyncio
@pytest.mark.parametrize("whose", ["language server", "upstream"])
async def test_no_server_can_store_cookies(hostile: Callable[..., HostileServer], whose: str) -> None:
    server = hostile(lambda _: [b"{}"], {"Set-Cookie": "id=user42; Max-Age=99999"})
    if whose == "upstream":
        async with make_client(None) as http:
            for _ in range(2):
                await http.get(server.url)
    else:
        client = CompletionClient(server.settings)
        for _ in range(2):
            await client.send_events(EventBatch(events=[]))
        await client.aclose()
    assert server.cookies == [None, None]


@pytest.mark.asyncio
@pytest.mark.parametrize("codec", ["bz2", "hex", "utf-16", "cp037"])
async def test_no_server_can_choose_a_codec(hostile: Callable[..., HostileServer], codec: str) -> None:
    headers = {"Content-Type": f"text/event-stream; charset={codec}"}
    server = hostile(lambda _: [completion_events("größe")], headers)
    client = CompletionClient(server.settings)
    assert "".join([chunk.choices[0].text async for chunk in client.stream(REQUEST)]) == "größe"
    server.body = lambda _: [b"\xff\xfe\x00"]
    assert (await failure(READS["check"](client))).state == "error"
    await client.aclose()


@pytest.mark.asyncio
async def test_a_head_without_an_end_is_given_up() -> None:
    closed = asyncio.Event()

    async def endless_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        closed.set()

    async with await asyncio.start_server(endless_head, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        settings = LspSettings.load({"server_url": f"http://127.0.0.1:{port}"})
        client = CompletionClient(settings, ClientLimits(silence_s=0.5))
        assert (await failure(stream(client))).state == "off"
        await client.aclose()
        await closed.wait()


def test_following_a_completion_that_repeats_the_file_takes_little_time() -> None:
    text = "\n" + "".join(f"f{number}(a[{number}], {{\n" for number in range(1_500))
    offer = Offer(("c", 0), (0, 0), text, text)
    began_s = time.process_time()
    assert offer.standing(text) == 0
    assert offer.standing(text[:9_000] + "x") == 0
    assert offer.standing("x" + text) is None
    assert offer.standing(text[:1_000] + text) == 1_000
    assert time.process_time() - began_s < SOON_S


def test_measuring_the_survival_of_a_long_text_takes_little_time() -> None:
    text = "a " * 5_000
    accepted = AcceptedText(Offer(("c", 0), (0, 0), text, ""), 0.0, (0, 0), text)
    began_s = time.process_time()
    ratio = accepted.ratio(["a b " * 5_000])
    assert time.process_time() - began_s < SOON_S
    assert ratio == pytest.approx(0.5, abs=0.01)


NASTY = "\x1b]0;owned\x07\x1b[2J\u202e" + "x" * 100_000 + "\r\n"


@pytest.mark.asyncio
@pytest.mark.parametrize("read", ["check", "stream", "explain"])
async def test_messages_of_a_server_are_short_and_printable(
    hostile: Callable[..., HostileServer], read: str
) -> None:
    error = {"error": {"message": NASTY, "type": NASTY, "code": NASTY}}
    server = hostile(lambda _: [json.dumps(error).encode()], status=500)
    client = CompletionClient(server.settings)
    message = (await failure(READS[read](client))).message
    server.status, server.headers = 200, STREAM
    server.body = lambda _: [f"data: {json.dumps(error)}\n\n".encode()]
    message += (await failure(stream(client))).message
    await client.aclose()
    assert message.isprintable()
    assert len(message) < 1_000


@pytest.mark.asyncio
@pytest.mark.parametrize("read", ["check", "stream"])
async def test_a_message_of_a_server_holds_no_link(hostile: Callable[..., HostileServer], read: str) -> None:
    link = "[Repair now](command:workbench.action.terminal.sendSequence)"
    error = {"error": {"message": link, "type": "x", "code": "x"}}
    server = hostile(lambda _: [json.dumps(error).encode()], status=500)
    client = CompletionClient(server.settings)
    message = (await failure(READS[read](client))).message
    await client.aclose()
    assert "Repair now" in message
    assert "](" not in message


@pytest.mark.asyncio
@pytest.mark.parametrize("status", ["loading", "failed", "ready"])
async def test_what_a_server_says_of_itself_is_short_and_printable(
    hostile: Callable[..., HostileServer], status: Any
) -> None:
    ready = Ready(status=status, model=NASTY, engine=NASTY, detail=NASTY).model_dump_json().encode()
    health = json.dumps({"status": "ok", "version": NASTY}).encode()
    models = b'{"object": "list", "data": []}'
    bodies = {"/ready": ready, "/health": health, "/v1/models": models}
    server = hostile(lambda path: [bodies.get(path, b"{}")])
    for check in await examine(server.settings):
        assert check.seen.isprintable(), check.name
        assert check.advice.isprintable()
        assert len(check.seen + check.advice) < 2_000


@pytest.mark.asyncio
async def test_names_of_an_upstream_and_errors_of_commands_cannot_steer_a_terminal(
    hostile: Callable[..., HostileServer], capsys: pytest.CaptureFixture[str]
) -> None:
    names = json.dumps({"data": [{"id": f"{NASTY}{number}"} for number in (1, 2)]}).encode()
    server = hostile(lambda path: [names if path == "/v1/models" else b""])
    async with make_client(None) as client:
        replica = Replica(server.url, "m", client, TimeLimits(health=30.0))
        with suppress(ConfigError):
            await replica.check()
    assert "serves several models" in replica.trouble
    assert replica.trouble.isprintable()
    print_error(f"There is no file {NASTY}.")
    assert not {"\x1b", "\x07", "\u202e"} & set(capsys.readouterr().err)


@pytest_asyncio.fixture
async def port(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[int]:
    """The port of a language server for TCP."""
    settings = LspSettings.load({"server_url": "http://127.0.0.1:9"})
    task = asyncio.create_task(serve_tcp(lambda: AcepilotLanguageServer(settings), "127.0.0.1", 0))
    printed = ""
    while "listens on" not in printed:
        await asyncio.sleep(0.01)
        printed += capsys.readouterr().err
    yield int(printed.rsplit(":", 1)[1])
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def answer_to(port: int, data: bytes) -> bytes:
    """Return all that the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            writer.write(data)
            await writer.drain()
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def framed(message: dict[str, Any]) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


INITIALIZE = framed({"id": 1, "method": "initialize", "params": {"capabilities": {}}})


@pytest.mark.asyncio
async def test_a_web_page_cannot_speak_to_the_tcp_port(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n"
    assert await answer_to(port, head + INITIALIZE) == b""
    assert await answer_to(port, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n" + INITIALIZE) == b""
    assert await answer_to(port, b"x" * 200_000) == b""


@pytest.mark.asyncio
async def test_a_huge_message_is_refused_before_it_is_read(port: int) -> None:
    assert await answer_to(port, b"Content-Length: 2000000\r\n\r\n{") == b""
    assert await answer_to(port, b"Content-Length: 99999999999\r\n\r\n{") == b""


@pytest.mark.asyncio
async def test_a_connection_that_never_begins_is_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsp.tcp.INITIALIZE_S", 0.5, raising=False)
    assert await answer_to(port, b"") == b""
    assert await answer_to(port, b"Content-Length: 5\r\n") == b""
    assert await answer_to(port, framed({"method": "no/such"})) == b""


@pytest.mark.asyncio
async def test_connections_are_limited_in_number(port: int) -> None:
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(80)]
    reads = [asyncio.create_task(reader.read(1)) for reader, _ in connections]
    closed: set[asyncio.Task[bytes]] = set()
    async with asyncio.timeout(9):  # less than INITIALIZE_S
        while len(closed) < 16:
            done, waiting = await asyncio.wait(set(reads) - closed, return_when=asyncio.FIRST_COMPLETED)
            closed |= done
    assert len(waiting) == 64
    for read in reads:
        read.cancel()
    for _, writer in connections:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in connections), return_exceptions=True)


@pytest.mark.asyncio
async def test_a_closed_connection_keeps_no_documents(capsys: pytest.CaptureFixture[str]) -> None:
    settings = LspSettings.load({"server_url": "http://127.0.0.1:9"})
    servers: list[AcepilotLanguageServer] = []

    def new_server() -> AcepilotLanguageServer:
        servers.append(AcepilotLanguageServer(settings))
        return servers[-1]

    task = asyncio.create_task(serve_tcp(new_server, "127.0.0.1", 0))
    printed = ""
    while "listens on" not in printed:
        await asyncio.sleep(0.01)
        printed += capsys.readouterr().err
    item = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "x\n" * 100_000}
    opened = framed({"method": "textDocument/didOpen", "params": {"textDocument": item}})
    leave = framed({"id": 2, "method": "shutdown"}) + framed({"method": "exit"})
    try:
        for _ in range(3):
            assert await answer_to(int(printed.rsplit(":", 1)[1]), INITIALIZE + opened + leave) != b""
        async with asyncio.timeout(10):
            while any(server.documents for server in servers):  # noqa: ASYNC110 - no event says it
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert len(servers) == 3


@pytest.mark.asyncio
async def test_a_message_that_stops_in_the_middle_is_given_up(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsp.tcp.BODY_S", 0.5, raising=False)
    assert b"capabilities" in await answer_to(port, INITIALIZE + b"Content-Length: 60000000\r\n\r\n{")


@pytest.mark.asyncio
async def test_connections_cannot_hold_more_than_a_budget(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsp.tcp.MAX_HELD_BYTES", 5_000_000, raising=False)
    begin = INITIALIZE + b"Content-Length: 4000000\r\n\r\n{"
    first_reader, first_writer = await asyncio.open_connection("127.0.0.1", port)
    first_writer.write(begin)
    assert await first_reader.readline() != b""
    await asyncio.sleep(0.1)  # the next header is read right after the answer
    assert b"capabilities" in await answer_to(port, begin)
    first_writer.close()
    with suppress(ConnectionError):
        await first_writer.wait_closed()


@pytest.mark.parametrize("line", ["a=1;" * 250_000, "é=😀;" * 250_000])
def test_replacing_everywhere_in_a_long_line_takes_little_time(line: str) -> None:
    documents = Documents()
    documents.open(types.TextDocumentItem("file:///a.js", "javascript", 1, line))
    units = len(line.encode("utf-16-le")) // 2
    step = units // 20_000 // 5 * 5  # not within a character
    places = [types.Position(0, number * step) for number in reversed(range(20_000))]
    changes = [types.TextDocumentContentChangePartial(types.Range(at, at), "\n") for at in places]
    began_s = time.process_time()
    documents.change("file:///a.js", 2, changes)
    assert time.process_time() - began_s < SOON_S
    lines = documents["file:///a.js"].lines
    assert len(lines) == 20_001
    assert "".join(lines).replace("\n", "") == line


@pytest.mark.asyncio
@pytest.mark.parametrize("broken", ["path", "surrogate", "language"])
async def test_a_document_with_strange_names_harms_no_request(
    fake: FakeServer, connect: editors.Connect, broken: str
) -> None:
    code = "import os\n\n\ndef alpha_beta(gamma_delta):\n    alpha_beta(gamma_delta)\n"
    editor = await connect()
    uri = {"path": "file:///w/" + "b" * 5_000, "surrogate": "file:///w/\udcff"}.get(broken, "file:///w/b")
    item = types.TextDocumentItem(uri, "p\ud800" * 100 if broken == "language" else "python", 1, code)
    editor.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    editor.open(code + "x = \n", (5, 4))
    assert await editor.text() == fake.text
    assert len(fake.seen[-1].body.snippets) == 1
    editor.uri, editor.line, editor.character = uri, 4, 27
    assert await editor.text() == fake.text


WHERE = {"textDocument": {"uri": "file:///a.py"}}
OUTSIDE = {"line": -1, "character": 0}
METHOD = "textDocument/inlineCompletion"
REQUESTS: dict[str, dict[str, Any]] = {
    "a position before the file": {"method": METHOD, "params": {**WHERE, "position": OUTSIDE}},
    "null parameters": {"method": METHOD, "params": None},
    "no parameters": {"method": METHOD},
    "a list": {"method": METHOD, "params": [1]},
    "another type": {"method": METHOD, "params": {**WHERE, "position": "x", "context": 3}},
    "a huge number": {"method": METHOD, "params": {**WHERE, "position": {"line": 2**70, "character": 0}}},
    "a command without a name": {"method": "workspace/executeCommand", "params": {"command": None}},
    "an unknown command": {"method": "workspace/executeCommand", "params": {"command": "no.such"}},
    "a notification with an id": {"method": "textDocument/didOpen", "params": {"textDocument": None}},
    "a good notification with an id": {"method": "initialized", "params": {}},
    "an unknown method": {"method": "no/such", "params": {}},
    "no method's name": {"method": None, "params": {}},
    "another protocol": {"method": METHOD, "jsonrpc": "1.0", "params": {}},
    "a second initialize": {"method": "initialize", "params": {"capabilities": 1}},
    "an error too": {"method": METHOD, "error": {"code": 1, "message": ""}, "params": {}},
}


@pytest.fixture(scope="module")
def answers() -> dict[Any, list[dict[str, Any]]]:
    """All answers of one language server to REQUESTS, whose ids are their names, by id."""
    command = [sys.executable, "-m", "lsp", "--server-url", "http://127.0.0.1:9"]
    exchange = INITIALIZE + b"".join(framed({"id": name, **request}) for name, request in REQUESTS.items())
    exchange += framed({"id": 1.5, "method": METHOD}) + framed({"id": None, "method": METHOD})
    exchange += framed({"id": 2, "method": "shutdown"}) + framed({"id": 3, "method": "shutdown"})
    exchange += framed({"id": 4, "method": METHOD, "params": None})
    found: dict[Any, list[dict[str, Any]]] = {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(exchange)
        process.stdin.flush()
        ender = threading.Timer(20, process.kill)
        ender.start()
        while not {2, 4} <= found.keys() and (line := process.stdout.readline()):
            length = int(line.partition(b":")[2])
            while process.stdout.readline().strip():
                pass
            message = json.loads(process.stdout.read(length))
            if "method" not in message:
                found.setdefault(message["id"], []).append(message)
        ender.cancel()
        process.kill()
    return found


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_gets_exactly_one_answer(answers: dict[Any, list[dict[str, Any]]], name: str) -> None:
    (answer,) = answers[name]
    assert "error" in answer
    if "params" in REQUESTS[name] and REQUESTS[name]["method"] == METHOD and "jsonrpc" not in REQUESTS[name]:
        assert answer["error"]["code"] in (-32602, -32600)


def test_requests_with_a_wrong_id_or_after_shutdown_are_answered(
    answers: dict[Any, list[dict[str, Any]]],
) -> None:
    assert len(answers[None]) == 2
    assert "result" in answers[2][0]
    assert [answers[number][0]["error"]["code"] for number in (3, 4)] == [-32600, -32602]
