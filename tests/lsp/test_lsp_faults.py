"""A server that is down, slow or wrong: nothing is offered, one status says why, recovery is automatic."""

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types

from acepilot import __version__
from lsp.answers import version_advice
from tests.lsp.conftest import Connect
from tests.lsp.editor import AUTOMATIC, Editor
from tests.lsp.fake_server import FakeServer

TEXT = "import os\n\n\ndef size(path):\n    return \n"
CURSOR = (4, 11)


def problems(editor: Editor) -> list[str]:
    """The warnings in the editor's log."""
    return [one.message for one in editor.client.log_messages if one.type == types.MessageType.Warning]


def open_sockets(editor: Editor) -> int:
    """Return the number of sockets of the language server's process."""
    return sum("socket:" in str(fd.readlink()) for fd in Path(f"/proc/{editor.server_pid}/fd").iterdir())


@pytest.mark.asyncio
async def test_a_server_killed_during_a_stream_and_restarted(fake: FakeServer, connect: Connect) -> None:
    fake.delay_s = 1.0  # six chunks: even on a busy machine, the server ends before the stream
    editor = await connect()
    editor.open(TEXT, CURSOR)
    asked = editor.ask()
    await editor.until(lambda: fake.seen and fake.seen[0].chunks)
    await asyncio.to_thread(fake.stop)
    assert await asked is None
    await editor.until_state("off")
    assert await editor.text() is None
    fake.delay_s = 0
    await asyncio.to_thread(fake.start)
    await editor.until_state("ready")
    assert await editor.text() == fake.text


@pytest.mark.asyncio
async def test_no_server_at_all(fake: FakeServer, connect: Connect) -> None:
    await asyncio.to_thread(fake.stop)
    editor = await connect()
    editor.open(TEXT, CURSOR)
    for _ in range(5):
        assert await editor.text() is None
    await editor.until_state("off")
    (problem,) = problems(editor)
    assert "python -m server" in problem
    assert editor.reason == problem


@pytest.mark.asyncio
@pytest.mark.parametrize("script", ["500", "malformed", "die"])
async def test_broken_answers_are_logged_once(fake: FakeServer, connect: Connect, script: str) -> None:
    editor = await connect()
    await editor.until_state("ready")
    editor.open(TEXT, CURSOR)
    fake.script = script
    for _ in range(3):
        assert await editor.text() is None
    assert len(fake.seen) == 3
    assert len(set(problems(editor))) == 1
    fake.script = "stream"
    assert await editor.text() == fake.text
    await editor.until_state("ready")
    assert fake.in_flight() == 0


@pytest.mark.asyncio
async def test_a_hanging_server_costs_only_the_time_budget(fake: FakeServer, connect: Connect) -> None:
    editor = await connect("--time-budget-ms", "200")
    editor.open(TEXT, CURSOR)
    fake.script = "hang"
    assert await editor.text() is None
    await editor.until_state("slow")
    assert "200 ms" in editor.reason
    fake.script = "stream"
    editor.type("o")
    fake.text = "s.stat(path)"
    assert await editor.text() is None  # the hanging request is not cancelled yet, and may still answer
    editor.open(TEXT, CURSOR, name="b.py")
    assert await editor.text() == fake.text
    await editor.until_state("ready")


@pytest.mark.asyncio
async def test_a_slow_server_gives_the_whole_lines_so_far(fake: FakeServer, connect: Connect) -> None:
    editor = await connect("--time-budget-ms", "600")
    editor.open(TEXT, CURSOR)
    fake.text, fake.delay_s = "os\n    x = 1\n    y = 2\n" + "    z = 3\n" * 5, 0.1
    text = await editor.text()
    assert text is not None
    assert text.startswith("os")
    assert (fake.text + "\n").startswith(text + "\n")
    assert len(text) < len(fake.text)
    await editor.until(lambda: fake.seen[0].ended == "whole")
    assert await editor.text() == fake.text
    assert len(fake.seen) == 1


@pytest.mark.asyncio
async def test_a_wrong_token(fake: FakeServer, connect: Connect) -> None:
    fake.token = "right"
    editor = await connect(env={"ACEPILOT_TOKEN": "wrong"})
    editor.open(TEXT, CURSOR)
    assert await editor.text() is None
    await editor.until_state("unauthorized")
    assert "ACEPILOT_TOKEN" in problems(editor)[0]
    fake.token = "wrong"
    await editor.until_state("ready")
    assert await editor.text() == fake.text
    assert fake.seen[-1].authorization == "Bearer wrong"


@pytest.mark.asyncio
async def test_a_busy_server_gets_no_automatic_requests(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    await editor.until_state("ready")
    editor.open(TEXT, CURSOR)
    fake.script = "429"
    assert await editor.text(AUTOMATIC) is None
    await editor.until_state("busy")
    assert await editor.text(AUTOMATIC) is None
    assert len(fake.seen) == 1
    fake.script = "stream"
    await editor.until_state("ready")
    assert await editor.text(AUTOMATIC) == fake.text


@pytest.mark.asyncio
async def test_a_model_that_is_still_loading(fake: FakeServer, connect: Connect) -> None:
    fake.script = "loading"
    editor = await connect()
    editor.open(TEXT, CURSOR)
    assert await editor.text() is None
    await editor.until_state("loading")
    fake.script = "stream"
    await editor.until_state("ready")
    assert await editor.text() == fake.text


@pytest.mark.asyncio
async def test_a_model_that_failed_to_load_is_an_error_until_one_is_loaded(
    fake: FakeServer, connect: Connect
) -> None:
    fake.script = "failed"
    editor = await connect()
    await editor.until_state("error")
    assert "could not be loaded" in editor.statuses[-1].message
    editor.open(TEXT, CURSOR)
    for _ in range(2):
        assert await editor.text() is None
    await asyncio.sleep(1)  # the server is checked again meanwhile
    assert [status.state for status in editor.statuses if status.message] == ["error"] * len(editor.statuses)
    assert len(problems(editor)) == 1
    fake.script = "loading"
    await editor.until_state("loading")
    fake.script = "stream"
    await editor.until_state("ready")
    assert await editor.text() == fake.text


@pytest.mark.asyncio
async def test_different_versions_are_logged_once_and_refuse_nothing(
    fake: FakeServer, connect: Connect
) -> None:
    fake.version = "98.7.6"
    editor = await connect()
    await editor.until(lambda: editor.statuses and "98.7.6" in editor.statuses[-1].message)
    editor.open(TEXT, CURSOR)
    assert await editor.text() == fake.text
    await editor.until(lambda: editor.reason)
    assert (editor.statuses[-1].state, "98.7.6" in editor.statuses[-1].message) == ("ready", True)
    (problem,) = problems(editor)
    assert "install the same version" in problem
    fake.script = "429"
    editor.type("z")
    assert await editor.text() is None
    fake.script, fake.version = "stream", __version__
    await editor.until(lambda: (editor.statuses[-1].state, editor.statuses[-1].message) == ("ready", ""))


@pytest.mark.parametrize(
    ("theirs", "ours", "differ"),
    [
        ("0.1.0", "0.1.0", False),
        ("0.1.9", "0.1.0", False),
        ("0.2.0", "0.1.0", True),
        ("1.1.0", "0.1.0", True),
        ("0.10.0", "0.1.0", True),
        ("", "0.1.0", True),
    ],
)
def test_the_last_number_of_a_version_may_differ(theirs: str, ours: str, differ: bool) -> None:
    assert bool(version_advice(theirs, ours)) == differ


@pytest.mark.asyncio
async def test_a_document_of_ten_megabytes(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    line = "value = compute(1, 2, 3)  # a line\n"
    half = 5_000_000 // len(line)
    editor.open(line * half + "\n" + line * half, (half, 0))
    editor.type("x = ")
    assert await asyncio.wait_for(editor.text(AUTOMATIC), 30) == fake.text
    body = fake.seen[0].body
    assert body.prompt.endswith(line + "x = ")
    assert 40_000 < len(body.prompt) <= 48_000
    assert body.suffix is not None
    assert body.suffix.startswith("\n" + line)
    assert 7_000 < len(body.suffix) <= 8_000
    editor.type("zz")
    await editor.text()
    shared = min(len(body.prompt), len(fake.seen[1].body.prompt))
    assert fake.seen[1].body.prompt[:shared] == body.prompt[:shared]


@pytest.mark.asyncio
async def test_a_binary_file(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open("\x7fELF\0\0\0secret", (0, 3), name="a.bin", language="")
    assert await editor.text() is None
    await editor.until(lambda: "binary" in editor.reason)
    assert fake.seen == []


@pytest.mark.asyncio
async def test_a_document_that_was_never_opened(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.uri = "file:///nowhere.py"
    assert await editor.text() is None
    await editor.until(lambda: "not opened" in editor.reason)


@pytest.mark.asyncio
async def test_two_hundred_rapid_edits_leak_nothing(fake: FakeServer, connect: Connect) -> None:
    fake.delay_s = 1.0  # even on a busy machine, no stream ends before the next key
    editor = await connect()
    editor.open(TEXT, CURSOR)
    answers = []
    for number in range(200):
        editor.type("uvwxyz"[number % 6])
        answers.append(editor.ask(AUTOMATIC, request_id=f"ask-{number}"))
        if number % 3 == 0:
            editor.client.cancel_request(types.CancelParams(id=f"ask-{number}"))
        if number % 8 == 0:
            await asyncio.sleep(0.06)  # longer than the debounce by then, so that some requests are sent
    fake.delay_s = 0.005
    results = await asyncio.gather(*answers, return_exceptions=True)
    last = results[-1]
    assert isinstance(last, types.InlineCompletionList)
    assert last.items[0].insert_text == fake.text
    others = [result for result in results[:-1] if result is not None and not isinstance(result, Exception)]
    assert others == []
    await editor.until(lambda: fake.in_flight() == 0)
    ends = [one.ended for one in fake.seen]
    assert ends[-1] == "whole"
    assert set(ends[:-1]) == {"cancelled"}
    await editor.until(
        lambda: open_sockets(editor) <= 3
    )  # two kept alive, and asyncio's own pair counts once
