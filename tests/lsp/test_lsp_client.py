"""The HTTP client for the completion server."""

import asyncio
import base64

import httpx
import pytest

from acepilot.protocol import Choice, CompletionRequest, CompletionResponse
from lsp.answers import ServerError
from lsp.client import ClientLimits, CompletionClient
from lsp.doctor import examine
from lsp.keystroke.shared_stream import SharedStream
from lsp.settings import LspSettings
from tests.event_stream import SEPARATORS, cut_answers, event_stream
from tests.lsp.fake_server import FakeServer
from tests.lsp.snapshots import snapshot

REQUEST = CompletionRequest(prompt="x = ", path="a.py")


def client_of(fake: FakeServer, **limits: float) -> CompletionClient:
    return CompletionClient(LspSettings.load({"server_url": fake.url}), ClientLimits(**limits))


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
async def test_a_connection_that_stays_open_after_the_last_event_is_closed(fake: FakeServer) -> None:
    fake.lingers_s = 600
    client = client_of(fake, drain_s=0.01)
    async with asyncio.timeout(30):
        assert await collect(client) == fake.text
    await client.aclose()


@pytest.mark.asyncio
async def test_the_final_text_does_not_wait_for_the_end_of_the_connection(fake: FakeServer) -> None:
    fake.lingers_s = 600
    client = client_of(fake, drain_s=600)
    finals: list[str | None] = []
    stream = SharedStream(client, REQUEST, snapshot(), lambda stream: finals.append(stream.final))
    woken = asyncio.Event()
    stream.join(woken)
    async with asyncio.timeout(30):
        while not stream.done:
            await woken.wait()
            woken.clear()
        assert finals == [fake.text]
        await stream.closed()
    assert finals == [fake.text]
    await client.aclose()


def client_that_gets(response: httpx.Response) -> CompletionClient:
    return CompletionClient(LspSettings.load(), transport=httpx.MockTransport(lambda _: response))


@pytest.mark.asyncio
async def test_the_sizes_of_network_reads_change_nothing() -> None:
    texts = [f"'é{SEPARATORS}😀'", ""]
    answers = [
        CompletionResponse(id="c", created=0, model="m", choices=[Choice(index=0, text=text)])
        for text in texts
    ]
    first, second = (answer.model_dump_json(exclude_none=True) for answer in answers)
    raw = f": hello\r\n\r\ndata:{first}\r\n\r\ndata: {second}\n\ndata: [DONE]\n\n".encode()
    for response in cut_answers(raw):
        client = client_that_gets(response)
        request = CompletionRequest(prompt=f"# {SEPARATORS}\nx = ")  # a document that has them too
        assert [chunk.choices[0].text async for chunk in client.stream(request)] == texts
        assert response.is_closed
        await client.aclose()


@pytest.mark.asyncio
async def test_a_stream_that_never_ends_is_given_up(fake: FakeServer) -> None:
    fake.text, fake.delay_s = "x" * 4_000, 0.05
    client = client_of(fake, answer_s=1.0)
    async with asyncio.timeout(30):
        with pytest.raises(ServerError, match="does not answer"):
            await collect(client)
    await client.aclose()


@pytest.mark.asyncio
async def test_a_web_page_is_an_error() -> None:
    client = client_that_gets(event_stream(b"<html>", content_type="text/html"))
    with pytest.raises(ServerError, match="--server-url") as caught:
        await collect(client)
    assert caught.value.state == "error"
    await client.aclose()
