"""The peers' client, against a fake of their protocol."""

import asyncio
import json

import httpx
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from bench.typing.editor import NoAnswer
from bench.typing.plain_client import DEBOUNCE_S, PlainClient

SENTINELS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Return a tokenizer for which every word is one token."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(text, special=True) for text in SENTINELS])
    return made


class FakePeer:
    """An OpenAI-style server that answers with `text` after `delay_s`."""

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


def test_a_key_within_the_debounce_sends_no_request(tokenizer: Tokenizer) -> None:
    peer = FakePeer(delay_s=5)

    async def work() -> None:
        client = peer.client(tokenizer)
        await client.open("a.py", "python", "x = ", "\n")
        for wait_s, requests in ((DEBOUNCE_S / 4, 0), (DEBOUNCE_S * 3, 1)):
            request = asyncio.create_task(client.ask())
            await asyncio.sleep(wait_s)
            request.cancel()
            await asyncio.wait([request])
            assert len(peer.bodies) == requests

    asyncio.run(work())
    assert peer.cancelled == 1


def test_a_peer_that_refuses_has_not_answered(tokenizer: Tokenizer) -> None:
    async def ask(peer: FakePeer) -> str:
        client = peer.client(tokenizer)
        await client.open("a.py", "python", "x = ", "\n")
        return await client.ask()

    with pytest.raises(NoAnswer):
        asyncio.run(ask(FakePeer(status=503)))
    assert asyncio.run(ask(FakePeer(text=" \n"))) == ""
