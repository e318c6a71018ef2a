"""A real language server process, driven as an editor drives it."""

import asyncio
import sys
from pathlib import Path

import pytest

from bench.typing.editor import NoAnswer
from bench.typing.language_server import LanguageServer
from tests.lsp.fake_server import FakeServer, wait_for


async def answer_of(command: list[str], log: Path) -> str:
    async with LanguageServer(command, log) as editor:
        await editor.open("a.py", "python", "def add(a, b):\n    return ", "\n")
        return await editor.ask()


def command_for(fake: FakeServer) -> list[str]:
    return [sys.executable, "-m", "lsp", "--server-url", fake.url]


def test_a_server_that_is_down_has_not_answered(fake: FakeServer, tmp_path: Path) -> None:
    fake.stop()
    with pytest.raises(NoAnswer):
        asyncio.run(answer_of(command_for(fake), tmp_path / "log"))


def test_a_language_server_that_ends_has_not_answered(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="has ended"):
        asyncio.run(answer_of([sys.executable, "-c", "input()"], tmp_path / "log"))


def test_a_cancelled_request_is_cancelled_at_the_server(fake: FakeServer, tmp_path: Path) -> None:
    fake.delay_s = 60

    async def work() -> str:
        async with LanguageServer(command_for(fake), tmp_path / "log") as editor:
            await editor.open("a.py", "python", "def add(a, b):\n    return ", "\n")
            request = asyncio.create_task(editor.ask())
            await asyncio.to_thread(wait_for, lambda: fake.seen, 20)
            request.cancel()
            await asyncio.wait([request])
            await asyncio.to_thread(wait_for, lambda: fake.seen[0].ended, 20)
            fake.delay_s = 0
            return await editor.ask()

    assert asyncio.run(work()) == "a + b"
    assert [seen.ended for seen in fake.seen] == ["cancelled", "whole"]
