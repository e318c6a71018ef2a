"""Attacks with connections alone: they need no token, and must not keep editors out."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from acepilot.models.resolve import resolve
from tests.attacks.server_process import Server, serving
from tests.needs import need_model

HEADER_TIMEOUT_S = 0.5
PATIENCE_S = 10.0
"""How long a connection must be held for the attack to count; the server ends it after HEADER_TIMEOUT_S."""

OPEN_FILES = 256


@pytest.fixture(scope="module")
def model() -> Path:
    need_model("starter-tiny")
    return resolve("starter-tiny").path


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    options = {"header_timeout_s": HEADER_TIMEOUT_S}
    with serving(model, home, options=options) as running:
        yield running


@pytest.fixture
def sockets() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def connect(server: Server, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, server.port), timeout=PATIENCE_S)


def is_ended(client: socket.socket, *, dribble: bytes = b"") -> bool:
    """Return True if the server ends the connection; the client sends `dribble` again and again."""
    client.settimeout(0.2)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if dribble:
                client.sendall(dribble)
            if not client.recv(1 << 16):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_a_connection_that_sends_nothing_is_ended(server: Server) -> None:
    with connect(server) as client:
        assert is_ended(client)


def test_a_connection_that_sends_half_a_header_is_ended(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.")
        assert is_ended(client)


def test_a_header_that_comes_byte_by_byte_is_ended(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nX: ")
        assert is_ended(client, dribble=b"x")


def test_a_second_header_that_comes_byte_by_byte_is_ended(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /health HTTP/1.1\r\nX: ")
        assert is_ended(client, dribble=b"x")


def test_a_refused_body_that_still_comes_byte_by_byte_is_ended(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert is_ended(client, dribble=b"x")


def test_an_answer_that_nobody_reads_is_ended(server: Server) -> None:
    """20 times the playground's script is more than the system keeps for a connection with a small window."""
    whole_bytes = 20 * len(server.get("/app.js").content)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /app.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20)
        time.sleep(HEADER_TIMEOUT_S * 8)  # the attack: nothing is read meanwhile
        client.settimeout(PATIENCE_S)
        read_bytes = 0
        with contextlib.suppress(ConnectionError):
            while part := client.recv(1 << 20):
                read_bytes += len(part)
    assert read_bytes < whole_bytes, "the server kept the connection and the rest of its answer"


def test_a_slow_header_within_the_limit_is_answered(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path) as patient, connect(patient) as client:
        for part in (b"GET /health HT", b"TP/1.1\r\nHost: 127.0.0.1", b"\r\n\r\n"):
            client.sendall(part)
            time.sleep(0.3)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_editors_survive_a_flood_of_silent_connections(
    model: Path, tmp_path: Path, sockets: contextlib.ExitStack
) -> None:
    with (tmp_path / "log").open("wb") as log:
        options = {"header_timeout_s": HEADER_TIMEOUT_S}
        with serving(model, tmp_path, stderr=log, open_files=OPEN_FILES, options=options) as server:
            for number in range(300):
                client = sockets.enter_context(connect(server))
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"GET / HTTP/1.1\r\nHost" if number % 2 else b"")
            deadline = time.monotonic() + PATIENCE_S
            answers: list[int] = []
            while 200 not in answers and time.monotonic() < deadline:
                with contextlib.suppress(httpx.TransportError):
                    answers.append(httpx.get(f"{server.url}/health", timeout=1).status_code)
            assert answers, "the server answers nobody"
            assert answers[-1] == 200
            assert set(answers) <= {200, 503}
    assert (tmp_path / "log").stat().st_size < 200_000


def test_one_address_cannot_take_all_connections(
    model: Path, tmp_path: Path, sockets: contextlib.ExitStack
) -> None:
    """The whole network 127.0.0.0/8 is this machine, so clients can have different addresses."""
    headers = {"Authorization": "Bearer t"}
    flags = ("--host", "0.0.0.0")
    with serving(model, tmp_path, *flags, open_files=OPEN_FILES, ACEPILOT_TOKEN="t") as server:
        for _ in range(OPEN_FILES * 2):
            client = sockets.enter_context(socket.socket())
            client.settimeout(PATIENCE_S)
            client.bind(("127.0.0.2", 0))
            client.connect(("127.0.0.1", server.port))
        last = client.recv(1 << 16)
        assert last.startswith(b"HTTP/1.1 503 ")
        assert b"connections from your address" in last
        assert server.complete(headers=headers).status_code == 200


def test_the_log_of_connections_that_cannot_be_accepted_is_limited(
    model: Path, tmp_path: Path, sockets: contextlib.ExitStack
) -> None:
    """So few open files are allowed that accepting fails."""
    with (tmp_path / "log").open("wb") as log, serving(model, tmp_path, stderr=log, open_files=40) as server:
        for _ in range(60):
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
        time.sleep(2.5)  # asyncio tries again every second
    text = (tmp_path / "log").read_text()
    assert text.count("out of system resource") < 100


def test_the_limit_of_open_files_is_raised(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path) as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    soft = int(next(line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")))
    assert soft >= 2_000


def test_a_client_that_closes_its_sending_side_is_told_why(server: Server) -> None:
    body = b'{"prompt": "x"}'
    head = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with connect(server) as client:
        client.sendall(head + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"cancels the request" in answer


def test_a_flood_of_broken_requests_does_not_fill_the_log(model: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, serving(model, tmp_path, stderr=log) as server:
        for _ in range(500):
            with connect(server) as client:
                client.sendall(b"\0\r\n\r\n")
                client.recv(1 << 16)
    assert (tmp_path / "log").read_text().count("Invalid HTTP request") < 100
