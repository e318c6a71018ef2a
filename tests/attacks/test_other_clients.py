"""Attacks on other users of a server: read or poison their answers, guess their code, take all places."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from server.engine.base import Delta, Engine, GenerationRequest
from tests.server.conftest import SCRIPTED_INFO, RunningServer, ScriptedEngine, Shared, tiny_engine

__all__ = ["tiny_engine"]

PATIENCE_S = 30.0

SECRET = 'KEY = "sk-live-4711"'
TAIL = "\n".join(
    ["import os", "", "", "def connect():", "    host = os.environ", "    port = 80", "", "    use("]
)
BELOW = ")\n\n\ndef close():\n    pass\n" + "\n".join(f"# {number}" for number in range(40)) + "\n"

Ask = Callable[[RunningServer, str, str, str], dict[str, Any]]


class EchoEngine(ScriptedEngine):
    """Completes with the string that the prompt assigns to a name in capitals, as a model would repeat it."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        self.prompts.append(request.prompt)
        known = re.search(r'[A-Z]+ = "([^"]*)"', request.prompt)
        yield Delta(f'"{known[1]}"' if known else "None", 1, "stop")


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with RunningServer(EchoEngine()) as running:
        yield running


def openai(server: RunningServer, prefix: str, suffix: str, path: str) -> dict[str, Any]:
    return server.complete(prompt=prefix, suffix=suffix, path=path, language="python", max_tokens=32).json()


def tabby(server: RunningServer, prefix: str, suffix: str, path: str) -> dict[str, Any]:
    segments = {"prefix": prefix, "suffix": suffix, "filepath": path}
    return server.complete(language="python", segments=segments).json()


def copilot(server: RunningServer, prefix: str, suffix: str, path: str) -> dict[str, Any]:
    body = {"prompt": prefix, "suffix": suffix, "path": path, "extra": {"language": "python"}}
    return httpx.post(f"{server.url}/v1/engines/any/completions", json=body).json()


def infill(server: RunningServer, prefix: str, suffix: str, path: str) -> dict[str, Any]:
    """This protocol sends no path."""
    body = {"input_prefix": prefix, "input_suffix": suffix}
    answer = httpx.post(f"{server.url}/infill", json=body).json()
    return {"id": answer["id"], "choices": [{"text": answer["content"]}]}


PROTOCOLS = pytest.mark.parametrize("ask", [openai, tabby, copilot, infill])


def text_of(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["text"]


def cache_of(server: RunningServer, answer: dict[str, Any]) -> str:
    return server.get(f"/v1/explain/{answer['id']}").json()["cache"]


@PROTOCOLS
@pytest.mark.parametrize("where", ["above", "below"])
def test_the_lines_at_the_cursor_do_not_get_the_secret_of_another_s_file(
    server: RunningServer, ask: Ask, where: str
) -> None:
    above, below = (f"{SECRET}\n", "") if where == "above" else ("", f"{SECRET}\n")
    full = text_of(ask(server, above + TAIL, BELOW + below, "src/client.py"))
    assert "sk-live-4711" in full, "the user has the answer that the attacker is after"
    for typed in ("", '"'):
        stolen = text_of(ask(server, TAIL + typed, BELOW, "src/client.py"))
        assert stolen
        assert "sk-live" not in stolen


@PROTOCOLS
def test_a_text_far_above_the_cursor_does_not_poison_another_s_answer(
    server: RunningServer, ask: Ask
) -> None:
    evil, good = 'URL = "http://evil.example"\n', 'URL = "http://good.example"\n'
    assert "evil" in text_of(ask(server, evil + TAIL, BELOW, "util/http.py"))
    answer = ask(server, good + TAIL, BELOW, "util/http.py")
    assert "good" in text_of(answer)
    assert cache_of(server, answer) == "none"


def test_two_projects_whose_files_begin_alike_do_not_mix(server: RunningServer) -> None:
    snippets = [[{"path": "conf.py", "text": f'NAME = "{project}"\n'}] for project in ("shop", "bank")]
    body = {"prompt": TAIL, "suffix": BELOW, "path": "main.py", "language": "python"}
    for other, name in zip(snippets, ("shop", "bank"), strict=True):
        assert name in text_of(server.complete(**body, snippets=other).json())
    for head, name in (('A = "shop"\n', "shop"), ('A = "bank"\n', "bank")):
        assert name in text_of(server.complete(**{**body, "prompt": head + TAIL}).json())


def test_the_same_client_still_hits_while_it_types(server: RunningServer) -> None:
    first = openai(server, SECRET + "\n" + TAIL, BELOW, "a.py")
    again = openai(server, SECRET + "\n" + TAIL, BELOW, "a.py")
    typed = openai(server, SECRET + "\n" + TAIL + '"sk', '"' + BELOW, "a.py")
    assert [cache_of(server, answer) for answer in (first, again, typed)] == [
        "none",
        "response",
        "typed_through",
    ]
    assert text_of(first) == '"sk' + text_of(typed)


def of_another_address() -> httpx.Client:
    """Return a client that claims to be the user at 127.0.0.1, as a proxy would say it."""
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    claim = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"}
    return httpx.Client(transport=transport, headers=claim, timeout=PATIENCE_S)


def test_the_response_cache_does_not_tell_what_another_client_asked(server: RunningServer) -> None:
    body = {"prompt": SECRET + "\n" + TAIL, "suffix": BELOW, "language": "python"}
    with of_another_address() as other:
        sources = [
            post(f"{server.url}/v1/completions", json=body).json()["acepilot"]["cache"]
            for post in (httpx.post, other.post, other.post)
        ]
    assert sources == ["none", "none", "response"]


def test_a_proxy_can_keep_its_users_apart(server: RunningServer) -> None:
    body = {"prompt": TAIL, "suffix": BELOW, "language": "python"}
    sources = [
        server.complete(**body, cache_salt=salt).json()["acepilot"]["cache"] for salt in ("a", "b", "a", None)
    ]
    assert sources == ["none", "none", "response", "none"]


def test_a_guess_of_another_s_prompt_is_not_read_faster(tiny_engine: Engine) -> None:
    prompt = "".join(f"password_{number} = 'p4ss{number * 7919}'\n" for number in range(10))
    body = {"prompt": prompt, "max_tokens": 1}

    def reused_by(post: Callable[..., httpx.Response]) -> int:
        before = tiny_engine.load().counts.reused_tokens
        assert post(f"{server.url}/v1/completions", json=body, timeout=PATIENCE_S).status_code == 200
        return tiny_engine.load().counts.reused_tokens - before

    with RunningServer(Shared(tiny_engine)) as server, of_another_address() as attacker:
        tokens = tiny_engine.count_tokens(prompt)
        reused_by(httpx.post)
        assert reused_by(httpx.post) >= tokens - 1, "the user's own prompt stays warm"
        assert reused_by(attacker.post) == 0
        assert reused_by(attacker.post) >= tokens - 1
        assert reused_by(httpx.post) >= tokens - 1, "the attacker's request has not made it cold"


class SaltEngine(ScriptedEngine):
    """Remembers the salt of everything that it is asked to compute."""

    def __init__(self, *, fim: bool) -> None:
        super().__init__(info=SCRIPTED_INFO if fim else replace(SCRIPTED_INFO, fim=None))
        self.salts: set[str] = set()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        self.salts.add(request.cache_salt)
        async for delta in super().generate(request):
            yield delta

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        self.salts.add(cache_salt)
        return await super().score(prompt, continuation)


EVERY_WAY = {
    "raw": ("/v1/completions", {"prompt": "x ="}),
    "choices": ("/v1/completions", {"prompt": "x =", "n": 3, "temperature": 1.0}),
    "stream": ("/v1/completions", {"prompt": "x =", "stream": True}),
    "scores": ("/v1/completions", {"prompt": "x =", "logprobs": 0}),
    "drafts": ("/v1/completions", {"prompt": "x =", "suffix": "\nprint(x)\n", "language": "python"}),
    "warm-up": ("/v1/completions", {"prompt": "x =", "max_tokens": 0}),
    "tabby": ("/v1/completions", {"language": "python", "segments": {"prefix": "x ="}}),
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x ="}]}),
    "infill": ("/infill", {"input_prefix": "x ="}),
    "copilot": ("/v1/engines/any/completions", {"prompt": "x =", "extra": {"language": "python"}}),
}


@pytest.mark.parametrize("way", EVERY_WAY)
def test_no_way_to_the_engine_shares_its_cache_between_clients(way: str) -> None:
    path, body = EVERY_WAY[way]
    engine = SaltEngine(fim=way != "drafts")
    with RunningServer(engine, suffix_candidates=3 if way == "drafts" else 0) as server:
        salts: list[set[str]] = []
        with of_another_address() as other:
            for post in (httpx.post, other.post):
                engine.salts.clear()
                post(f"{server.url}{path}", json=body).raise_for_status()
                salts.append(set(engine.salts))
    assert [len(found) for found in salts] == [1, 1], "all that one request computes has one salt"
    assert "" not in salts[0] | salts[1]
    assert salts[0] != salts[1]


def test_a_salt_tells_an_upstream_server_neither_token_nor_address() -> None:
    engine = SaltEngine(fim=True)
    with RunningServer(engine, token="the-token") as server:
        engine.salts.clear()
        headers = {"Authorization": "Bearer the-token"}
        for _ in range(2):
            httpx.post(
                f"{server.url}/v1/completions", json={"prompt": "x"}, headers=headers
            ).raise_for_status()
    (salt,) = engine.salts
    assert re.fullmatch("[0-9a-f]{64}", salt)


class EndlessEngine(ScriptedEngine):
    """Answers at once, except a flood, whose completions do not end while the client stays."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        yield Delta("1", 1, None)
        if "flood" in request.prompt:
            await asyncio.Event().wait()
        yield Delta("", 0, "stop")


@contextlib.contextmanager
def flood(server: RunningServer, requests: int, **body: object) -> Iterator[None]:
    """Keep `requests` unanswered requests of 8 long completions each open."""
    payload = json.dumps({"prompt": "flood ", "n": 8, "max_tokens": 4000, **body}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(requests)
        ]
        for client in sockets:
            client.sendall(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        yield


def is_flooded(server: RunningServer) -> bool:
    """Return True once the flood holds all that it may: then the first of its requests is refused."""
    held = server.metric("acepilot_active_requests") + server.metric("acepilot_waiting_requests")
    return held >= 24 and server.metric("acepilot_completions_total", outcome="refused") >= 1


@pytest.mark.parametrize("editor", [False, True])
@pytest.mark.parametrize("max_streams", [16, 4])
def test_a_flood_of_one_client_does_not_keep_an_editor_out(editor: bool, max_streams: int) -> None:
    as_editor = {"language": "python"} if editor else {}
    with RunningServer(EndlessEngine(), max_streams=max_streams) as server, of_another_address() as other:
        with flood(server, 7, temperature=1.0, **as_editor):
            assert server.wait_for(lambda: is_flooded(server), within_s=PATIENCE_S)
            for number in range(5):
                body = {"prompt": f"x{number} = ", "suffix": "\n", "language": "python"}
                answer = other.post(f"{server.url}/v1/completions", json=body)
                assert answer.status_code == 200, answer.text
            refusal = httpx.post(f"{server.url}/v1/completions", json={"prompt": "flood", "n": 8})
            assert refusal.status_code == 429
            assert "yours" in refusal.json()["error"]["message"]
        assert server.wait_for(lambda: server.metric("acepilot_active_requests") == 0, within_s=PATIENCE_S)
