"""The language server's end of a completion's connection, against the scripted server."""

import asyncio
import base64

import pytest

import lsp.client
from acepilot.protocol import CompletionRequest
from lsp.client import CompletionClient
from lsp.doctor import examine
from lsp.live import Live
from lsp.settings import LspSettings
from tests.lsp.fake_server import FakeServer
from tests.lsp.test_lsp_steps import snapshot

REQUEST = CompletionRequest(prompt="x = ", path="a.py")


def client_of(fake: FakeServer) -> CompletionClient:
    return CompletionClient(LspSettings.load({"server_url": fake.url}))


async def collect(client: CompletionClient) -> str:
    return "".join([chunk.choices[0].text async for chunk in client.stream(REQUEST)])


@pytest.mark.asyncio
async def test_completions_share_a_connection(fake: FakeServer) -> None:
    client = client_of(fake)
    for _ in range(3):
        assert await collect(client) == fake.text
    assert len({seen.port for seen in fake.seen}) == 1
    await client.aclose()


@pytest.mark.asyncio
async def test_a_password_in_the_address_is_used_and_never_shown(fake: FakeServer) -> None:
    settings = LspSettings.load({"server_url": fake.url.replace("//", "//alice:hunter2@")})
    checks = await examine(settings)
    assert checks[-1].ok
    assert fake.seen[0].authorization == f"Basic {base64.b64encode(b'alice:hunter2').decode()}"
    fake.stop()
    checks += await examine(settings)
    assert not checks[-1].ok
    shown = "".join(check.seen + check.advice for check in checks)
    assert fake.url in shown
    assert not [secret for secret in ("alice", "hunter2") if secret in shown]


@pytest.mark.asyncio
async def test_a_connection_that_stays_open_after_the_end_is_given_up(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsp.client, "READ_OUT_S", 0.01)
    fake.lingers_s = 600
    client = client_of(fake)
    async with asyncio.timeout(30):
        assert await collect(client) == fake.text
    await client.aclose()


@pytest.mark.asyncio
async def test_the_last_word_is_not_kept_back_until_the_connection_is_read_out(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsp.client, "READ_OUT_S", 600)
    fake.lingers_s = 600
    client = client_of(fake)
    told: list[str | None] = []
    live = Live(client, REQUEST, snapshot(), lambda live: told.append(live.final))
    woken = asyncio.Event()
    live.join(woken)
    async with asyncio.timeout(30):
        while not live.done:
            await woken.wait()
            woken.clear()
        assert told == [fake.text]
        await live.closed()
    assert told == [fake.text]
    await client.aclose()
