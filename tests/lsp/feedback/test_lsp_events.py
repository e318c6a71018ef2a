"""From a real `python -m lsp` to the server's `/v1/events`: the events of an editor's actions."""

import asyncio
from typing import Any

import pytest
from lsprotocol import types

from tests.lsp.conftest import Connect
from tests.lsp.editor import AUTOMATIC
from tests.lsp.fake_server import FakeServer

TEXT = "import os\n\n\ndef size(path):\n    return \n\n\nprint(size('.'))\n"
CURSOR = (4, 11)


def kinds(fake: FakeServer) -> list[str]:
    return [event.kind for event in fake.events]


@pytest.mark.asyncio
async def test_accepted_ghost_text(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    await editor.text(AUTOMATIC)
    editor.type(fake.text)
    await editor.until(lambda: len(fake.events) >= 2)
    shown, accepted = fake.events
    assert (shown.kind, accepted.kind) == ("shown", "accepted")
    for event in fake.events:
        assert (event.completion_id, event.choice, event.model) == ("cmpl-1", 0, "fake")
        assert (event.language, event.shown_chars) == ("python", len(fake.text))
        assert event.client == "test editor 1.2"
    assert shown.latency_ms is not None
    assert 0 < shown.latency_ms < 5_000
    assert accepted.chars == len(fake.text)
    assert not any(
        code in event.model_dump_json() for event in fake.events for code in ("stat", "a.py", "size(")
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(("editors", "name"), [("plaintext", "a.vue"), ("vue", "a.txt"), ("VUE", "a")])
async def test_an_event_has_the_language_that_was_completed(
    fake: FakeServer, connect: Connect, editors: str, name: str
) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR, name=name, language=editors)
    await editor.text()
    await editor.until(lambda: fake.events)
    assert fake.events[0].language == "vue"


@pytest.mark.asyncio
async def test_a_menu_item_has_the_same_events(fake: FakeServer, connect: Connect) -> None:
    editor = await connect(inline=False)
    editor.open(TEXT.replace("return ", "return os"), (4, 13))
    fake.text = ".stat(path).st_size"
    answer = await editor.client.text_document_completion_async(
        types.CompletionParams(types.TextDocumentIdentifier(editor.uri), types.Position(4, 13))
    )
    assert isinstance(answer, types.CompletionList)
    editor.character = 11
    editor.replace("os.stat(path).st_size", over=2)
    await editor.until(lambda: len(fake.events) >= 2)
    assert [(event.kind, event.chars) for event in fake.events] == [
        ("shown", 0),
        ("accepted", len(fake.text)),
    ]


@pytest.mark.asyncio
async def test_rejected_by_typing_other_text(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    await editor.text()
    await editor.until(lambda: kinds(fake) == ["shown"])
    editor.type("z")
    await editor.until(lambda: kinds(fake) == ["shown", "rejected"])


@pytest.mark.asyncio
async def test_reports_of_the_editor_itself(fake: FakeServer, connect: Connect) -> None:
    fake.others = ["other(1)", "third(2)", "third(2)"]
    editor = await connect()
    editor.open(TEXT, CURSOR)
    answer = await editor.ask()
    assert answer is not None
    first, other, third = answer.items
    assert [item.insert_text for item in answer.items] == [fake.text, "other(1)", "third(2)"]
    for method, params in (
        ("textDocument/didShowCompletion", {"item": item_as_sent(other)}),
        ("textDocument/didPartiallyAcceptCompletion", {"item": item_as_sent(other), "acceptedLength": 5}),
        ("textDocument/didShowCompletion", {"item": {"command": None}}),
        ("textDocument/didShowCompletion", None),
    ):
        editor.client.protocol.notify(method, params)
    editor.type("other")
    assert other.command is not None
    assert list(other.command.arguments or []) == ["cmpl-others-1"]
    assert third.command is not None
    assert list(third.command.arguments or []) == ["cmpl-others-1", 1]
    assert first.command is not None
    await editor.until(lambda: len(fake.events) >= 2)
    assert [(one.completion_id, one.choice, one.kind, one.chars) for one in fake.events] == [
        ("cmpl-others-1", 0, "shown", 0),
        ("cmpl-others-1", 0, "partly_accepted", 5),
    ]
    assert "not counted" in editor.stderr


def item_as_sent(item: types.InlineCompletionItem) -> dict[str, Any]:
    assert item.command is not None
    command = {"title": "", "command": item.command.command, "arguments": item.command.arguments}
    return {"insertText": item.insert_text, "command": command}


@pytest.mark.asyncio
async def test_a_closed_document_and_the_end_of_the_program(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    for name in ("a.py", "b.py"):
        editor.open(TEXT, CURSOR, name=name)
        await editor.text()
        await asyncio.sleep(0.6)
        if name == "a.py":
            editor.client.text_document_did_close(
                types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(editor.uri))
            )
    await editor.client.shutdown_session()
    editor.client.capabilities = None  # so that the fixture does not shut the session down again
    assert sorted(kinds(fake)) == ["rejected", "rejected", "shown", "shown"]


@pytest.mark.asyncio
async def test_an_unreachable_server_gets_the_events_later(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    await editor.text()
    await asyncio.to_thread(fake.stop)
    await asyncio.sleep(1)
    editor.type("z")
    await asyncio.to_thread(fake.start)
    await editor.until(lambda: kinds(fake) == ["shown", "rejected"], timeout_s=10)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [500, 502])
async def test_what_a_server_or_a_proxy_in_trouble_did_not_take_comes_later(
    fake: FakeServer, connect: Connect, status: int
) -> None:
    fake.events_status = status
    editor = await connect()
    editor.open(TEXT, CURSOR)
    await editor.text()
    await asyncio.sleep(1)
    editor.type("z")
    fake.events_status = 200
    await editor.until(lambda: kinds(fake) == ["shown", "rejected"], timeout_s=10)
    assert not [one for one in editor.client.log_messages if "dropped" in one.message]


@pytest.mark.asyncio
async def test_a_server_that_takes_no_events_is_logged_once(fake: FakeServer, connect: Connect) -> None:
    fake.events_status = 404
    editor = await connect()
    editor.open(TEXT, CURSOR)
    for _ in range(2):
        await editor.text()
        await asyncio.sleep(0.8)
        editor.type("z")
        await asyncio.sleep(0.8)
    logged = [one.message for one in editor.client.log_messages if "dropped" in one.message]
    assert len(logged) == 1
    assert await editor.text() == fake.text, "completions go on"
