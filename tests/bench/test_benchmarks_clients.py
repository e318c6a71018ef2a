"""The two clients: a peer's, against a fake of its protocol, and ours, through a real language server."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from bench.load.load import Load
from bench.peers.peers import HERE, Contestant
from bench.peers.without import LEVERS, read_counts
from bench.typing import plain_client
from bench.typing.editor import NoAnswer
from bench.typing.language_server import LanguageServer
from bench.typing.plain_client import DEBOUNCE_S, PlainClient
from tests.event_stream import SEPARATORS, cut_answers
from tests.lsp.fake_server import FakeServer, wait_for

SENTINELS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Every word is one token."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(text, special=True) for text in SENTINELS])
    return made


class FakePeer:
    """An OpenAI-style server that says `text` after `delay_s`."""

    def __init__(self, text: str = "a + b", status: int = 200, delay_s: float = 0.0) -> None:
        self.text, self.status, self.delay_s = text, status, delay_s
        self.bodies: list[dict[str, object]] = []
        self.cancelled = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return httpx.Response(self.status, json={"choices": [{"text": self.text}]})

    def client(self, tokenizer: Tokenizer) -> PlainClient:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.answer), base_url="http://peer")
        return PlainClient(http, "starter", tokenizer, {"cache_prompt": True})


def test_a_peer_is_asked_greedily_for_the_window_around_the_cursor(tokenizer: Tokenizer) -> None:
    peer = FakePeer()

    async def work() -> str:
        client = peer.client(tokenizer)
        await client.open("a.py", "python", "def add(a, b):\n    retur", "\n\nprint(add(1, 2))\n")
        client.insert("x")
        client.delete()
        client.insert("n ")
        return await client.ask()

    assert asyncio.run(work()) == "a + b"
    [body] = peer.bodies
    assert body["prompt"] == (
        "<|fim_prefix|>def add(a, b):\n    return <|fim_suffix|>\n\nprint(add(1, 2))\n<|fim_middle|>"
    )
    assert body["temperature"] == 0
    assert body["stop"] == ["\n\n"]
    assert body["cache_prompt"] is True


def test_a_key_within_the_debounce_costs_no_request(tokenizer: Tokenizer) -> None:
    peer = FakePeer(delay_s=5)

    async def work() -> None:
        client = peer.client(tokenizer)
        await client.open("a.py", "python", "x = ", "\n")
        for wait_s, requests in ((DEBOUNCE_S / 4, 0), (DEBOUNCE_S * 3, 1)):
            question = asyncio.create_task(client.ask())
            await asyncio.sleep(wait_s)
            question.cancel()
            await asyncio.wait([question])
            assert len(peer.bodies) == requests

    asyncio.run(work())
    assert peer.cancelled == 1


def test_a_peer_that_refuses_has_not_answered(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_client, "DEBOUNCE_S", 0)

    async def ask(peer: FakePeer) -> str:
        client = peer.client(tokenizer)
        await client.open("a.py", "python", "x = ", "\n")
        return await client.ask()

    with pytest.raises(NoAnswer):
        asyncio.run(ask(FakePeer(status=503)))
    assert asyncio.run(ask(FakePeer(text=" \n"))) == ""


def test_where_an_answer_is_cut_changes_no_count() -> None:
    chunks = [{"choices": [{"text": f"é{SEPARATORS}"}]}, {"choices": [], "usage": {"completion_tokens": 7}}]
    first, last = (json.dumps(chunk, ensure_ascii=False) for chunk in chunks)
    raw = f": hello\n\ndata: {first}\n\ndata: {last}\n\ndata: [DONE]\n\n".encode()

    async def tokens(response: httpx.Response) -> int:
        transport = httpx.MockTransport(lambda request: response)
        async with httpx.AsyncClient(transport=transport, base_url="http://peer") as http:
            return (await Load(http, Contestant("peer", "", "", ()), "m").ask("x", 8)).tokens

    assert {asyncio.run(tokens(response)) for response in cut_answers(raw)} == {7}


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer(text="a + b")
    server.start()
    yield server
    server.stop()


def lsp_command(fake: FakeServer, counts: Path, *without: str) -> list[str]:
    levers = [part for lever in without for part in ("--without", lever)]
    script = str(HERE / "without.py")
    return [sys.executable, script, "--counts", str(counts), *levers, "lsp", "--server-url", fake.url]


async def type_along(command: list[str], log: Path) -> list[str]:
    """Asks, types the first two characters of the answer, and asks again after each."""
    async with LanguageServer(command, log) as editor:
        await editor.open("a.py", "python", "def add(a, b):\n    return ", "\n")
        answers = [await editor.ask()]
        for key in "a ":
            editor.insert(key)
            answers.append(await editor.ask())
        await editor.close()
    return answers


def test_typing_along_is_answered_from_the_cache_and_counted(fake: FakeServer, tmp_path: Path) -> None:
    answers = asyncio.run(type_along(lsp_command(fake, tmp_path), tmp_path / "log"))
    assert answers == ["a + b", " + b", "+ b"]
    counts = read_counts(tmp_path)
    assert counts == {"posted": 1, "fresh": 1, "lsp_cache": 2}
    assert len(fake.seen) == 1


def test_without_the_cache_each_key_asks_the_server(fake: FakeServer, tmp_path: Path) -> None:
    command = lsp_command(fake, tmp_path, "lsp-cache", "live-stream", "adaptive-debounce")
    asyncio.run(type_along(command, tmp_path / "log"))
    assert read_counts(tmp_path)["lsp_cache"] == 0
    assert len(fake.seen) == 3


def test_a_server_that_is_gone_has_not_answered(fake: FakeServer, tmp_path: Path) -> None:
    command = lsp_command(fake, tmp_path)
    fake.stop()
    with pytest.raises(NoAnswer):
        asyncio.run(type_along(command, tmp_path / "log"))


def test_a_language_server_that_ends_has_not_answered(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="has ended"):
        asyncio.run(type_along([sys.executable, "-c", "input()"], tmp_path / "log"))


def test_a_question_that_is_withdrawn_is_withdrawn_at_the_server(fake: FakeServer, tmp_path: Path) -> None:
    fake.delay_s = 60

    async def work() -> str:
        async with LanguageServer(lsp_command(fake, tmp_path), tmp_path / "log") as editor:
            await editor.open("a.py", "python", "def add(a, b):\n    return ", "\n")
            question = asyncio.create_task(editor.ask())
            await asyncio.to_thread(wait_for, lambda: fake.seen, 20)
            question.cancel()
            await asyncio.wait([question])
            await asyncio.to_thread(wait_for, lambda: fake.seen[0].ended, 20)
            fake.delay_s = 0
            return await editor.ask()

    assert asyncio.run(work()) == "a + b"
    assert [seen.ended for seen in fake.seen] == ["cancelled", "whole"]


@pytest.mark.parametrize("patch", ["patch_engine", "patch_lsp"])
def test_every_lever_is_still_where_it_is_switched_off(patch: str, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from bench.peers import without; "
        f"without.{patch}(set({list(LEVERS)!r}), without.Counts(Path({str(tmp_path)!r})))"
    )
    done = run_here(code)
    assert done.returncode == 0, done.stderr


def run_here(code: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own, since it changes the product."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
