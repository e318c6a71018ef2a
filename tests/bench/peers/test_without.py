"""Levers that are off, and counts, in a real language server process; test_replay.py has the server."""

import asyncio
import sys
import time
from pathlib import Path

from bench.peers.levers import FIXED_DEBOUNCE_MS, read_counts
from bench.peers.servers import HERE
from bench.typing.language_server import LanguageServer
from tests.lsp.fake_server import FakeServer, wait_for


def lsp_command(fake: FakeServer, counts: Path, *without: str) -> list[str]:
    levers = [part for lever in without for part in ("--without", lever)]
    script = str(HERE / "levers.py")
    return [sys.executable, script, "--counts", str(counts), *levers, "lsp", "--server-url", fake.url]


async def type_along(command: list[str], log: Path) -> list[str]:
    """Ask, then type the first two characters of the answer, and ask again after each. Return all answers."""
    async with LanguageServer(command, log) as editor:
        await editor.open("a.py", "python", "def add(a, b):\n    return ", "\n")
        answers = [await editor.ask()]
        for key in "a ":
            editor.insert(key)
            answers.append(await editor.ask())
        await editor.close()
    return answers


async def type_during_the_answer(fake: FakeServer, command: list[str], log: Path) -> list[str]:
    """Type the answer's first character while the answer is being generated, then ask again."""
    async with LanguageServer(command, log) as editor:
        await editor.open("a.py", "python", "def add(a, b):\n    return ", "\n")
        first = asyncio.create_task(editor.ask())
        await asyncio.to_thread(wait_for, lambda: fake.seen and fake.seen[0].chunks, 20)
        first.cancel()
        editor.insert("a")
        return [await editor.ask()]


def test_typing_along_is_answered_from_the_cache_and_counted(fake: FakeServer, tmp_path: Path) -> None:
    answers = asyncio.run(type_along(lsp_command(fake, tmp_path), tmp_path / "log"))
    assert answers == ["a + b", " + b", "+ b"]
    assert read_counts(tmp_path) == {"posted": 1, "fresh": 1, "lsp_cache": 2}
    assert len(fake.seen) == 1


def test_without_the_cache_each_key_sends_a_request(fake: FakeServer, tmp_path: Path) -> None:
    command = lsp_command(fake, tmp_path, "lsp-cache", "live-stream", "adaptive-debounce")
    asyncio.run(type_along(command, tmp_path / "log"))
    assert read_counts(tmp_path) == {"posted": 3, "fresh": 3}
    assert len(fake.seen) == 3


def test_a_stream_is_shared_unless_the_lever_is_off(fake: FakeServer, tmp_path: Path) -> None:
    fake.delay_s = 0.3
    for without, sources in (
        ((), {"posted": 1, "live_stream": 1}),
        (("live-stream",), {"posted": 2, "fresh": 1}),
    ):
        fake.seen.clear()
        counts = tmp_path / "-".join(["counts", *without])
        counts.mkdir()
        asyncio.run(type_during_the_answer(fake, lsp_command(fake, counts, *without), tmp_path / "log"))
        assert read_counts(counts) == sources


def test_without_the_adaptive_debounce_a_request_waits_for_a_fixed_time(
    fake: FakeServer, tmp_path: Path
) -> None:
    """The adaptive debounce waits for 75 ms here, since its first guess is halved after a space."""

    async def elapsed_s() -> float:
        command = lsp_command(fake, tmp_path, "adaptive-debounce")
        async with LanguageServer(command, tmp_path / "log") as editor:
            await editor.open("a.py", "python", "def add(a, b):\n    return ", "\n")
            began = time.perf_counter()
            await editor.ask()
            return time.perf_counter() - began

    assert asyncio.run(elapsed_s()) >= FIXED_DEBOUNCE_MS / 1000
