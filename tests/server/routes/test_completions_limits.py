"""Limits of time and places at `/v1/completions`, clients that leave, and engines that fail."""

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from server.options import ServiceOptions

Serve = Callable[..., Any]


@pytest.mark.parametrize("language", ["javascript", None])
def test_a_time_limit_ends_with_the_last_whole_line(
    serve: Serve, scripted: Any, language: str | None
) -> None:
    scripted.step_s = 0.02
    scripted.script = " ".join(f"let a{number} = {number};\n" for number in range(200))
    server = serve(scripted)
    answer = server.complete(
        prompt="{\n", suffix="\n}\n", language=language, max_tokens=2000, time_limit_ms=300
    ).json()
    lines = answer["choices"][0]["text"].rstrip("\n").split("\n")
    assert 1 <= len(lines) < 100
    assert all(line.strip().startswith("let") and line.endswith(";") for line in lines)
    assert answer["choices"][0]["finish_reason"] == "length"
    trail = server.get(f"/v1/explain/{answer['id']}").json()
    assert trail["early_stop"] == "time_limit"
    assert server.wait_for(lambda: scripted.open_streams == 0)


def test_a_time_limit_waits_for_the_first_line(serve: Serve, scripted: Any) -> None:
    scripted.step_s = 0.01
    scripted.script = "a and b and c\nd and e and f"
    answer = serve(scripted).complete(prompt="x = ", time_limit_ms=1).json()
    assert answer["choices"][0]["text"] == "a and b and c\n"


def test_a_full_queue_is_429_with_retry_after(serve: Serve, scripted: Any) -> None:
    scripted.step_s = 0.05
    scripted.script = "w " * 40
    server = serve(scripted, max_streams=1, max_waiting=1)
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(server.complete(prompt="x"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert "try again" in refused.json()["error"]["message"]


def test_a_wait_in_the_queue_is_limited(serve: Serve, scripted: Any) -> None:
    scripted.script, scripted.step_s = "word " * 30, 0.05
    server = serve(scripted, ServiceOptions(queue_timeout_s=0.2), max_streams=1, max_waiting=4)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.complete, prompt="a")
        assert server.wait_for(lambda: server.metric("acepilot_active_requests") == 1)
        for stream in (False, True):
            refused = server.complete(prompt="b", stream=stream)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
            assert "max_streams" in refused.json()["error"]["message"]
        assert long.result().status_code == 200
    assert server.metric("acepilot_waiting_requests") == 0
    assert server.complete(prompt="c", max_tokens=1).status_code == 200


@pytest.mark.parametrize("n", [1, 2])
def test_a_completion_is_limited_when_the_engine_hangs(serve: Serve, scripted: Any, n: int) -> None:
    server = serve(scripted, ServiceOptions(completion_timeout_s=0.2))
    scripted.step_s = 20.0
    late = server.complete(prompt="x", n=n)
    assert (late.status_code, late.json()["error"]["code"]) == (500, "completion_too_slow")
    assert server.wait_for(lambda: scripted.open_streams == 0)
    assert server.metric("acepilot_active_requests") == 0
    scripted.step_s = 0.0
    assert server.complete(prompt="x").status_code == 200


def test_a_stream_that_takes_too_long_ends_with_an_error(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, ServiceOptions(completion_timeout_s=0.4))
    scripted.script, scripted.step_s = "word " * 1_000, 0.02
    stream = server.complete(prompt="x", stream=True, max_tokens=1_000).text
    assert stream.index('"word"') < stream.index('"completion_too_slow"')
    assert "[DONE]" not in stream


def test_a_client_that_stops_reading_loses_its_place(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, ServiceOptions(completion_timeout_s=1.0, last_event_timeout_s=0.1))
    scripted.script = " ".join(["\x01" * 100_000] * 20)  # six bytes each, in JSON: more than any buffer
    body = json.dumps({"prompt": "x", "stream": True}).encode()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert server.wait_for(
            lambda: server.metric("acepilot_completions_total", outcome="cancelled") == 1, within_s=20
        )
        assert (server.metric("acepilot_active_requests"), scripted.open_streams) == (0, 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place_within_a_step(
    serve: Serve, scripted: Any, stream: bool
) -> None:
    scripted.step_s = 0.05
    scripted.script = "w " * 2000
    server = serve(scripted)
    body = {"prompt": "x", "max_tokens": 2000, "stream": stream}
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        payload = json.dumps(body).encode()
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(payload), payload)
        )
        assert server.wait_for(lambda: scripted.steps > 3)
    assert server.wait_for(lambda: scripted.open_streams == 0)
    steps = scripted.steps
    assert server.wait_for(lambda: server.metric("acepilot_wasted_tokens_total") > 0)
    assert scripted.steps <= steps + 1
    assert server.metric("acepilot_active_requests") == 0
    assert server.metric("acepilot_completions_total", outcome="cancelled") == 1


def test_an_engine_that_fails_is_500_and_the_next_request_is_answered(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    scripted.fails_after = 1
    response = server.complete(prompt="x")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "engine_failed"
    streamed = server.complete(prompt="x", stream=True).text
    assert streamed.index('"one"') < streamed.index('"engine_failed"')
    assert "[DONE]" not in streamed
    scripted.fails_after = 0
    assert server.complete(prompt="x", stream=True).status_code == 500
    scripted.fails_after = None
    assert server.complete(prompt="x").status_code == 200
