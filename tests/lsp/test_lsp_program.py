"""`python -m lsp` as a program: the doctor, serving over TCP, wrong flags."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from lsprotocol import types
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client

from tests.lsp.fake_server import FakeServer

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("ACEPILOT_")}


def run(*flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsp", *flags]
    return subprocess.run(
        command, env={**CLEAN, **env}, capture_output=True, text=True, timeout=30, check=False
    )


def failing(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the names and the advice of the failed checks, from --json."""
    assert done.returncode == 1, done.stdout + done.stderr
    return {check["name"]: check["advice"] for check in json.loads(done.stdout)["checks"] if not check["ok"]}


def test_doctor_with_a_working_server(fake: FakeServer) -> None:
    done = run("--doctor", "--server-url", fake.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"`return {fake.text}` in" in done.stdout
    assert "FAIL" not in done.stdout
    for editor in ("VS Code", "Neovim", "any LSP editor"):
        assert editor in done.stdout
    assert str(Path(sys.executable).with_name("acepilot-lsp")) in done.stdout
    report = json.loads(run("--doctor", "--json", "--server-url", fake.url).stdout)
    assert report["ok"]
    assert [check["name"] for check in report["checks"]] == ["server", "token", "model", "completion"]


def test_doctor_names_a_server_of_another_version_and_goes_on(fake: FakeServer) -> None:
    fake.version = "98.7.6"
    done = run("--doctor", "--json", "--server-url", fake.url)
    assert done.returncode == 0, done.stdout + done.stderr
    server = json.loads(done.stdout)["checks"][0]
    assert "98.7.6" in server["seen"]
    assert "install the same version" in server["advice"]


def test_doctor_says_what_to_do(fake: FakeServer) -> None:
    doctor = ("--doctor", "--json", "--server-url", fake.url)
    fake.script = "loading"
    assert list(failing(run(*doctor))) == ["model"]
    fake.script = "failed"
    assert "log" in failing(run(*doctor))["model"]
    fake.script = "500"
    assert list(failing(run(*doctor))) == ["completion"]
    fake.script, fake.token = "stream", "right"
    assert "ACEPILOT_TOKEN" in failing(run(*doctor, ACEPILOT_TOKEN="wrong"))["token"]
    assert run(*doctor, ACEPILOT_TOKEN="right").returncode == 0
    fake.final = ""
    assert list(failing(run(*doctor, ACEPILOT_TOKEN="right"))) == ["completion"]
    fake.stop()
    assert "python -m server" in failing(run(*doctor))["server"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--server-url", "not a url"], "server_url"),
        (["--time-budget-ms", "1"], "time_budget_ms"),
        (["--tcp", "nowhere"], "HOST:PORT"),
        (["--tcp", "0.0.0.0:0"], "--allow-remote"),
        (["--json"], "--doctor"),
    ],
)
def test_wrong_flags_are_explained(flags: list[str], message: str) -> None:
    done = run(*flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest_asyncio.fixture
async def tcp_port(fake: FakeServer) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lsp",
        "--tcp",
        "127.0.0.1:0",
        "--server-url",
        fake.url,
        env=CLEAN,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), 10)).decode()
    yield int(line.rsplit(":", 1)[1])
    process.terminate()
    await process.communicate()


@pytest.mark.asyncio
async def test_tcp_serves_one_editor_after_and_beside_another(fake: FakeServer, tcp_port: int) -> None:
    texts = ["a = ", "b = ", "c = "]
    clients = [make_test_lsp_client() for _ in texts]
    for client, text in zip(clients[:2], texts[:2], strict=True):
        await client.start_tcp("127.0.0.1", tcp_port)
        assert await complete(client, text) == fake.text
    await leave(clients[0])
    await clients[2].start_tcp("127.0.0.1", tcp_port)
    assert await complete(clients[2], texts[2]) == fake.text
    await leave(clients[1])
    await leave(clients[2])
    assert [one.body.prompt for one in fake.seen] == texts


async def leave(client: LanguageClient) -> None:
    await client.shutdown_async(None)
    client.exit(None)
    async with asyncio.timeout(5):
        await client.stop()


async def complete(client: LanguageClient, text: str) -> str:
    await client.initialize_session(types.InitializeParams(client_capabilities("neovim")))
    client.text_document_did_open(
        types.DidOpenTextDocumentParams(types.TextDocumentItem("file:///a.py", "python", 1, text))
    )
    answer = await client.text_document_inline_completion_async(
        types.InlineCompletionParams(
            types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked),
            types.TextDocumentIdentifier("file:///a.py"),
            types.Position(0, len(text)),
        )
    )
    assert isinstance(answer, types.InlineCompletionList)
    return str(answer.items[0].insert_text)


def test_doctor_prints_completions_without_markup(fake: FakeServer) -> None:
    fake.text = "weird[/x][bold]:smile:"
    done = run("--doctor", "--server-url", fake.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"`return {fake.text}` in" in done.stdout


def test_an_address_in_use_is_an_error(fake: FakeServer) -> None:
    done = run("--tcp", fake.url.removeprefix("http://"))
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: Cannot listen on {fake.url.removeprefix('http://')}")
