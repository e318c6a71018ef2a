"""Attacks on what clients share besides the engine: threads, memory, caches, the last places."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from acepilot.languages import LANGUAGES
from acepilot.syntax import embedded_at
from acepilot.trail import Trail
from server.client import Client, client_of
from server.engine.base import Delta, Engine, GenerationRequest
from server.routes.guard import MAX_HELD_BYTES, Guard
from tests.server.conftest import RunningServer, ScriptedEngine, Shared, tiny_engine

__all__ = ["tiny_engine"]

PATIENCE_S = 30.0


def of_address(address: str) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=PATIENCE_S)


class HidingEngine(ScriptedEngine):
    """Measures how long the event loop needs for a hidden character."""

    def __init__(self) -> None:
        super().__init__()
        self.loop_s: list[float] = []

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        for text in ("\u200b", "a", "b"):
            began = time.thread_time()
            yield Delta(text, 1, None)
            self.loop_s.append(time.thread_time() - began)
        yield Delta("", 0, "stop")


def test_a_hidden_character_beside_all_of_unicode_does_not_stop_the_server() -> None:
    chars = [*range(0x3400, 0xD7FF), *range(0x20000, 0x2FFFF), *range(0xF0000, 0xFFFFF)]
    text = "".join(map(chr, chars * 3))[:430_000]
    engine = HidingEngine()
    with RunningServer(engine) as server:
        body = {"prompt": text, "suffix": text, "language": "python", "n": 8, "temperature": 0.5}
        server.complete(**body, max_tokens=8).raise_for_status()
    assert sum(engine.loop_s) < 0.4


def test_a_megabyte_of_open_tags_is_not_all_read() -> None:
    began = time.process_time()
    for _ in range(10):
        assert embedded_at("<style/" * 142_000, LANGUAGES["html"]) is None
    assert time.process_time() - began < 0.6


class SlowCountEngine(ScriptedEngine):
    """Counting the tokens of a flood's prompts takes until `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.planning = 0
        self.most_planning = 0

    def count_tokens(self, text: str) -> int:
        if "flood" in text and not self.released.is_set():
            self.planning += 1
            self.most_planning = max(self.most_planning, self.planning)
            self.released.wait(PATIENCE_S)
            self.planning -= 1
        return super().count_tokens(text)


def send(server: RunningServer, body: dict[str, object], stack: ExitStack, address: str) -> socket.socket:
    """Send a request whose answer nobody reads."""
    payload = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    client = socket.create_connection(("127.0.0.1", server.port), source_address=(address, 0))
    stack.enter_context(client)
    client.sendall(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
    return client


def test_requests_that_take_long_to_plan_do_not_delay_another_client() -> None:
    engine = SlowCountEngine()
    with RunningServer(engine) as server, ExitStack() as stack, of_address("127.0.0.2") as other:
        stack.callback(engine.released.set)
        body = {"prompt": "flood " * 100, "suffix": "\n", "language": "python"}
        for _ in range(40):
            send(server, body, stack, "127.0.0.1")
        assert server.wait_for(lambda: engine.planning > 0, within_s=PATIENCE_S)
        for number in range(3):
            mine = {"prompt": f"x{number} = ", "suffix": "\n", "language": "python"}
            assert other.post(f"{server.url}/v1/completions", json=mine).status_code == 200
        assert engine.most_planning == 1


def test_a_client_whose_requests_pile_up_before_admission_is_refused() -> None:
    engine = SlowCountEngine()
    with RunningServer(engine) as server, ExitStack() as stack:
        stack.callback(engine.released.set)
        for _ in range(80):
            send(server, {"prompt": "flood " * 100, "language": "python"}, stack, "127.0.0.1")
        refused = ("acepilot_completions_total", "refused")
        assert server.wait_for(
            lambda: server.metric(refused[0], outcome=refused[1]) >= 16, within_s=PATIENCE_S
        )


@pytest.mark.asyncio
async def test_bodies_in_hand_are_limited_in_all_and_by_client() -> None:
    finish = asyncio.Event()
    accepted: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        accepted.append(scope["client"][0])
        await finish.wait()
        await send({"type": "http.response.start", "status": 200})

    guard = Guard(app, None, frozenset(), 30.0)

    async def post(host: str, size_bytes: int, *, is_chunked: bool = False) -> int:
        parts = [b"x" * (size_bytes // 2)] * 2
        statuses: list[int] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": parts.pop(), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            statuses.append(message.get("status", 0))

        headers = [] if is_chunked else [(b"content-length", str(size_bytes).encode())]
        scope = {"type": "http", "path": "/", "headers": headers, "client": (host, 1)}
        await guard(scope, receive, send)
        return statuses[0]

    large = 3_900_000
    tasks = [asyncio.create_task(post(f"10.0.0.{host}", large)) for host in range(4) for _ in range(10)]
    tasks += [asyncio.create_task(post(f"2001:db8::{host}", large)) for host in range(40)]
    small = [asyncio.create_task(post("10.0.0.1", 60_000)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert accepted.count("10.0.0.0") == MAX_HELD_BYTES // 4 // large
    assert len(accepted) - len(small) <= MAX_HELD_BYTES // large
    finish.set()
    assert {await task for task in small} == {200}
    statuses = [await task for task in tasks]
    assert statuses.count(200) == MAX_HELD_BYTES // large
    assert set(statuses) == {200, 429}
    assert [await post("2001:db8::1", large) for _ in range(40)] == [200] * 40, "nothing stays counted"


def test_a_network_of_ipv6_is_one_client_where_clients_share() -> None:
    def client(host: str) -> Client:
        return client_of({"client": (host, 1)}, None)

    first, second, other = (client(host) for host in ("2001:db8::1", "2001:db8::2:2", "2001:db8:0:1::1"))
    assert first.share == second.share != other.share
    assert first.cache_salt(None) != second.cache_salt(None), "they do not see each other's texts"
    assert first.cache_salt("a") != second.cache_salt("a")
    assert first.cache_salt("a").startswith(first.share)


class EndlessEngine(ScriptedEngine):
    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        yield Delta("1", 1, None)
        if "flood" in request.prompt:
            await asyncio.Event().wait()
        yield Delta("", 0, "stop")


def test_programs_of_many_addresses_do_not_keep_an_editor_out() -> None:
    with RunningServer(EndlessEngine()) as server, ExitStack() as stack, of_address("127.0.0.99") as other:
        for host in range(1, 21):
            choices = 8 if host < 8 else 1
            body = {"prompt": "flood ", "n": choices, "temperature": 1.0, "max_tokens": 4000}
            send(server, body, stack, f"127.0.1.{host}")
        assert server.wait_for(
            lambda: server.metric("acepilot_completions_total", outcome="refused") >= 3, within_s=PATIENCE_S
        )
        for number in range(3):
            body = {"prompt": f"x{number} = ", "suffix": "\n", "language": "python"}
            answer = other.post(f"{server.url}/v1/completions", json=body)
            assert answer.status_code == 200, answer.text


def test_many_salts_of_one_client_do_not_make_another_s_prompt_cold(tiny_engine: Engine) -> None:
    prompt = "".join(f"value_{number} = {number * 7919}\n" for number in range(10))

    def reused_by(post: Callable[..., httpx.Response]) -> int:
        before = tiny_engine.load().counts.reused_tokens
        post(f"{server.url}/v1/completions", json={"prompt": prompt, "max_tokens": 1}).raise_for_status()
        return tiny_engine.load().counts.reused_tokens - before

    with (
        RunningServer(Shared(tiny_engine)) as server,
        of_address("127.0.0.7") as user,
        of_address("127.0.0.8") as attacker,
    ):
        reused_by(user.post)
        for number in range(40):
            body = {"prompt": f"a{number}", "max_tokens": 1, "cache_salt": str(number)}
            attacker.post(f"{server.url}/v1/completions", json=body).raise_for_status()
        assert reused_by(user.post) >= tiny_engine.count_tokens(prompt) - 1


def test_a_flood_of_empty_requests_does_not_push_out_another_s_trail() -> None:
    with RunningServer(ScriptedEngine()) as server, of_address("127.0.0.8") as attacker:
        answer = server.complete(prompt="x = ", language="python").json()
        for _ in range(1_030):
            attacker.post(f"{server.url}/v1/completions", json={"prompt": "", "language": "python"})
        trail = server.get(f"/v1/explain/{answer['id']}")
        assert trail.status_code == 200
        assert Trail.model_validate(trail.json()).id == answer["id"]
