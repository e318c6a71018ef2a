"""The server apart from completions: health, readiness, metrics, the token, hosts, settings."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from acepilot.errors import ConfigError, ModelBroken
from server.app import create_app
from server.options import ServiceOptions
from server.settings import ServerSettings

Serve = Callable[..., Any]


def test_health_answers_while_the_model_loads(serve: Serve, scripted: Any) -> None:
    from fastapi.testclient import TestClient

    release = threading.Event()

    def load_engine() -> Any:
        release.wait(10)
        return scripted

    app = create_app(ServerSettings.load({}), load_engine)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/health").status_code == 200
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "loading")
        refused = client.post("/v1/completions", json={"prompt": "x"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        release.set()
        deadline = time.monotonic() + 5
        while client.get("/ready").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client.get("/ready").json() == {
            "status": "ready",
            "model": "scripted",
            "engine": "scripted",
            "detail": "",
        }


@pytest.mark.parametrize(
    "failure", [ModelBroken("The file is damaged: fetch it again."), MemoryError("fetch it again")]
)
def test_a_model_that_fails_to_load_gives_the_reason(failure: Exception) -> None:
    from fastapi.testclient import TestClient

    def load_engine() -> Any:
        raise failure

    with TestClient(create_app(ServerSettings.load({}), load_engine), base_url="http://localhost") as client:
        deadline = time.monotonic() + 5
        while (ready := client.get("/ready")).json()["status"] == "loading" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (ready.status_code, ready.json()["status"]) == (503, "failed")
        assert "fetch it again" in ready.json()["detail"]
        assert "fetch it again" in client.post("/v1/completions", json={"prompt": "x"}).text


def test_metrics_are_prometheus_text_without_code(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    server.complete(prompt="my_secret_name = ", language="python", path="secret/path.py")
    text = server.get("/metrics").text
    for name in (
        "acepilot_time_to_first_token_seconds_count 1.0",
        "acepilot_completion_seconds_count 1.0",
        "acepilot_queue_seconds_count 1.0",
        "acepilot_generated_tokens_total",
        "acepilot_wasted_tokens_total",
        "acepilot_cache_hits",
        "acepilot_active_requests 0.0",
        "acepilot_kv_cache_used_ratio",
    ):
        assert name in text
    assert "secret" not in text


def test_a_token_is_required_when_one_is_set(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, token="s3cret")
    assert server.complete(prompt="x").status_code == 401
    wrong = server.get("/v1/models", headers={"Authorization": "Bearer nope"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "unauthorized")
    right = server.get("/v1/models", headers={"Authorization": "Bearer s3cret"})
    assert right.status_code == 200
    assert server.get("/metrics").status_code == 401
    assert server.get("/health").status_code == 200
    assert server.get("/").status_code == 200, "the playground asks for the token itself"


def test_a_token_may_hold_any_characters(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, token="tökén-漢")
    header = "Bearer tökén-漢".encode()
    assert server.get("/v1/models", headers=[(b"Authorization", header)]).status_code == 200
    assert server.get("/v1/models", headers=[(b"Authorization", header[:-1])]).status_code == 401


def send_raw(server: Any, head: bytes, body: bytes) -> bytes:
    """Send a request as bytes; return the beginning of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n" + head + b"\r\n")
        with contextlib.suppress(ConnectionError):
            client.sendall(body)
        return client.recv(400)


def test_a_body_is_refused_before_it_is_read(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, token="t")
    assert b" 401 " in send_raw(server, b"Content-Length: 30000000\r\n", b"")
    token = b"Authorization: Bearer t\r\nContent-Type: application/json\r\n"
    assert b" 413 " in send_raw(server, token + b"Content-Length: 40000000\r\n", b"")
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    assert b" 413 " in send_raw(server, token + b"Transfer-Encoding: chunked\r\n", chunk * 34)


def test_a_body_that_stops_in_the_middle_is_not_waited_for(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, ServiceOptions(body_timeout_s=0.2))
    head = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(head + b'Content-Length: 1000\r\n\r\n{"prompt": "x')
        answer = b"".join(
            iter(lambda: client.recv(4096), b"")
        )  # to the end: the server closes the connection
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer
    assert server.complete(prompt="x").status_code == 200


def test_a_request_may_take_longer_than_its_body(serve: Serve, scripted: Any) -> None:
    scripted.step_s = 0.2
    assert serve(scripted, ServiceOptions(body_timeout_s=0.2)).complete(prompt="x").status_code == 200


EVIL = {"Origin": "https://evil.example"}


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/", "/metrics", "/nothing"])
def test_no_other_page_may_read_an_answer(serve: Serve, scripted: Any, path: str) -> None:
    server = serve(scripted)
    asked = server.get(path, headers=EVIL)
    posted = httpx.post(f"{server.url}/v1/completions", json={"prompt": "x"}, headers=EVIL)
    for answer in (asked, posted):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/v1/completions", "/infill", "/v1/events", "/v1/chat/completions"])
def test_a_page_s_preflight_request_is_refused(serve: Serve, scripted: Any, path: str) -> None:
    asks = {
        **EVIL,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = httpx.options(f"{serve(scripted).url}{path}", headers=asks)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", b'{"prompt": "x"}'),
        ("/infill", b'{"input_prefix": "x"}'),
        ("/v1/engines/e/completions", b'{"prompt": "x"}'),
        ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "x"}]}'),
        ("/v1/events", b'{"events": []}'),
    ],
)
def test_a_post_that_needs_no_preflight_is_refused(
    serve: Serve, scripted: Any, path: str, body: bytes, content_type: str | None
) -> None:
    """Browsers send such requests to any address. The page cannot read the answer, but it would use the
    engine."""
    server = serve(scripted)
    prompts = len(scripted.prompts)
    headers = {**EVIL, **({"Content-Type": content_type} if content_type else {})}
    answer = httpx.post(f"{server.url}{path}", content=body, headers=headers)
    assert answer.status_code == 422
    assert len(scripted.prompts) == prompts


@pytest.mark.parametrize(
    "target",
    [
        "/../../../../../../etc/passwd",
        "/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/app.js/../../../../pyproject.toml",
        "/app.js%00.html",
        "/..\\..\\..\\pyproject.toml",
        "/v1/explain/../../../../etc/passwd",
        "/v1/explain/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/engines/..%2f..%2fetc%2fpasswd/completions",
        "file:///etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_routes(serve: Serve, scripted: Any, target: str) -> None:
    """Sends bytes, because HTTP clients normalise such paths."""
    with socket.create_connection(("127.0.0.1", serve(scripted).port), timeout=10) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    status = int(answer.split(b" ", 2)[1])
    assert status in (400, 404, 405)
    assert len(answer) < 1_000, "a short error, and no file"


def test_a_foreign_host_name_is_refused_without_token(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    assert server.get("/v1/models", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "myhost.example"])
def test_beyond_loopback_a_token_is_required(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACEPILOT_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="ACEPILOT_TOKEN"):
        ServerSettings.load({"host": host})
    monkeypatch.setenv("ACEPILOT_TOKEN", "t")
    assert ServerSettings.load({"host": host}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_loopback_needs_no_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACEPILOT_TOKEN", raising=False)
    assert ServerSettings.load({"host": host}).host == host


def test_flags_beat_variables_beat_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acepilot.toml").write_text("[server]\nthreads = 3\nmax_streams = 4\n")
    monkeypatch.setenv("ACEPILOT_PORT", "2222")
    monkeypatch.setenv("ACEPILOT_THREADS", "5")
    settings = ServerSettings.load({"port": 3333, "threads": None})
    assert (settings.port, settings.threads, settings.max_streams) == (3333, 5, 4)


def test_all_mistakes_are_reported_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acepilot.toml").write_text("[server]\nprot = 1\nthreads = -1\n")
    with pytest.raises(ConfigError) as caught:
        ServerSettings.load({"port": "high"})
    for name in ("prot", "threads", "port"):
        assert f"  {name}: " in caught.value.message


def run_server(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *flags],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_refuses_what_cannot_work() -> None:
    unknown = run_server("--model", "no-such-model")
    assert unknown.returncode == 2
    assert "python -m acepilot.models fetch" in unknown.stderr
    open_door = run_server("--host", "0.0.0.0", ACEPILOT_TOKEN="")
    assert open_door.returncode == 2
    assert "ACEPILOT_TOKEN" in open_door.stderr


def test_the_real_server_serves_tiny_and_stops_on_sigint(tiny_engine: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--model", "starter-tiny", "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        body = {"prompt": "def secret_function(", "language": "python", "max_tokens": 8}
        assert httpx.post(f"{url}/v1/completions", json=body, timeout=30).status_code == 200
    finally:
        process.send_signal(2)
        _, logged = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "model_ready" in logged
    assert "secret_function" not in logged
