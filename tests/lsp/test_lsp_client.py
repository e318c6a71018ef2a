"""The language server's end of a completion's connection, against the scripted server."""

import asyncio
import base64

import httpx
import pytest

import lsp.client
from acepilot.protocol import Choice, CompletionRequest, CompletionResponse
from lsp.client import CompletionClient, ServerError
from lsp.doctor import examine
from lsp.keystroke.shared_stream import SharedStream
from lsp.settings import LspSettings
from tests.event_stream import SEPARATORS, cut_answers, event_stream
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
    live = SharedStream(client, REQUEST, snapshot(), lambda live: told.append(live.final))
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


def answer_with(response: httpx.Response, monkeypatch: pytest.MonkeyPatch) -> CompletionClient:
    """A client whose next request gets this answer, whatever its address."""

    async def handle(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return response

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    return CompletionClient(LspSettings.load({"server_url": "http://127.0.0.1:1"}))


@pytest.mark.asyncio
async def test_where_an_answer_is_cut_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"'é{SEPARATORS}😀'", ""]
    answers = [
        CompletionResponse(id="c", created=0, model="m", choices=[Choice(index=0, text=text)])
        for text in texts
    ]
    first, second = (answer.model_dump_json(exclude_none=True) for answer in answers)
    raw = f": hello\r\n\r\ndata:{first}\r\n\r\ndata: {second}\n\ndata: [DONE]\n\n".encode()
    for response in cut_answers(raw):
        client = answer_with(response, monkeypatch)
        assert [chunk.choices[0].text async for chunk in client.stream(REQUEST)] == texts
        assert response.is_closed
        await client.aclose()


@pytest.mark.asyncio
async def test_a_page_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    client = answer_with(event_stream(b"<html>", content_type="text/html"), monkeypatch)
    with pytest.raises(ServerError, match="--server-url") as caught:
        await collect(client)
    assert caught.value.state == "error"
    await client.aclose()
