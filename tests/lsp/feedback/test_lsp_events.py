"""From a real `python -m lsp` to the server's `/v1/events`: what an editor causes, and what is kept back."""

import asyncio
from typing import Any

import pytest
from lsprotocol import types

from acepilot.events import MAX_EVENTS, CompletionEvent, EventBatch
from lsp.client import CompletionClient, ServerError
from lsp.feedback.outbox import CAPACITY, Outbox
from lsp.settings import LspSettings
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
async def test_the_menu_is_told_alike(fake: FakeServer, connect: Connect) -> None:
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
async def test_rejected_by_typing_something_else(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    await editor.text()
    await editor.until(lambda: kinds(fake) == ["shown"])
    editor.type("z")
    await editor.until(lambda: kinds(fake) == ["shown", "rejected"])


@pytest.mark.asyncio
async def test_what_the_editor_says_itself(fake: FakeServer, connect: Connect) -> None:
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
    editor.client.capabilities = None  # so that the fixture does not end what has ended
    assert sorted(kinds(fake)) == ["rejected", "rejected", "shown", "shown"]


@pytest.mark.asyncio
async def test_a_server_that_was_away_gets_them_later(fake: FakeServer, connect: Connect) -> None:
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
@pytest.mark.parametrize(
    ("status", "refused"),
    [(404, True), (413, True), (422, True)]
    + [(status, False) for status in (401, 403, 408, 429, 500, 502, 503, 504)],
)
async def test_a_refusal_is_what_would_be_said_again(fake: FakeServer, status: int, refused: bool) -> None:
    fake.events_status = status
    client = CompletionClient(LspSettings.load({"server_url": fake.url}))
    with pytest.raises(ServerError) as caught:
        await client.send_events(EventBatch(events=[an_event(1)]))
    await client.aclose()
    assert caught.value.refused == refused


@pytest.mark.asyncio
async def test_a_server_that_takes_no_events_is_said_once(fake: FakeServer, connect: Connect) -> None:
    fake.events_status = 404
    editor = await connect()
    editor.open(TEXT, CURSOR)
    for _ in range(2):
        await editor.text()
        await asyncio.sleep(0.8)
        editor.type("z")
        await asyncio.sleep(0.8)
    told = [one.message for one in editor.client.log_messages if "dropped" in one.message]
    assert len(told) == 1
    assert await editor.text() == fake.text, "completions go on"


@pytest.mark.asyncio
async def test_other_candidates_only_when_asked_by_hand(fake: FakeServer, connect: Connect) -> None:
    fake.others = ["other(1)", fake.text, ""]
    editor = await connect()
    editor.open(TEXT, CURSOR)
    assert await editor.text(AUTOMATIC) == fake.text
    assert fake.asked_for_others == []
    for _ in range(2):
        answer = await editor.ask()
        assert answer is not None
        assert [item.insert_text for item in answer.items] == [fake.text, "other(1)"]
    (asked,) = fake.asked_for_others
    assert (asked.n, asked.prompt) == (2, fake.seen[0].body.prompt)
    assert asked.temperature > 0
    assert len(fake.seen) == 1
    await editor.until(lambda: editor.reason == "2 candidates were offered.")


@pytest.mark.asyncio
async def test_a_change_ends_the_wait_for_others(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    assert await editor.text(AUTOMATIC) == fake.text
    fake.delay_s = 30
    asked = editor.ask()
    await editor.until(lambda: fake.asked_for_others)
    editor.type("o")
    fake.delay_s = 0
    newer = editor.ask(AUTOMATIC)
    await asyncio.wait_for(asked, 5)  # with the rest of it or, where the newer request came at once, nothing
    answer = await newer
    assert answer is not None
    assert [item.insert_text for item in answer.items] == [fake.text[1:]]


@pytest.mark.asyncio
async def test_the_selected_item_of_the_editors_menu_is_gone_on_from(
    fake: FakeServer, connect: Connect
) -> None:
    fake.text = "(path).st_size"
    editor = await connect()
    editor.open(TEXT.replace("return ", "return o.s"), (4, 14))
    selected = types.SelectedCompletionInfo(
        types.Range(types.Position(4, 11), types.Position(4, 14)), "os.stat"
    )
    answer = await editor.ask(AUTOMATIC, selected=selected)
    assert answer is not None
    (item,) = answer.items
    assert (item.insert_text, item.range) == ("os.stat(path).st_size", selected.range)
    assert fake.seen[0].body.prompt.endswith("    return os.stat")
    assert fake.seen[0].body.suffix == "\n\n\nprint(size('.'))\n"


def an_event(number: int) -> CompletionEvent:
    return CompletionEvent(completion_id=f"c{number}", kind="shown", at=1.0)


@pytest.mark.asyncio
async def test_the_outbox_is_bounded_and_counts_what_it_drops() -> None:
    sent: list[int] = []
    said: list[str] = []
    away = True

    async def post(batch: EventBatch) -> None:
        if away:
            raise ServerError("off", "No server.")
        sent.extend(int(event.completion_id[1:]) for event in batch.events)
        assert len(batch.events) <= MAX_EVENTS

    outbox = Outbox(post, said.append)
    for number in range(CAPACITY + 25):
        outbox.put(an_event(number))
    assert outbox.dropped == 25
    assert [told.partition("far: ")[2].split(".")[0] for told in said] == ["1", "10"]
    away = False
    await outbox.flush(1)
    assert sent == list(range(25, CAPACITY + 25)), "in their order, each once"


@pytest.mark.asyncio
async def test_a_batch_that_was_on_its_way_is_not_lost() -> None:
    sent: list[str] = []
    hangs = True

    async def post(batch: EventBatch) -> None:
        if hangs:
            await asyncio.sleep(60)
        sent.extend(event.completion_id for event in batch.events)

    outbox = Outbox(post, print)
    outbox.put(an_event(1))
    running = asyncio.create_task(outbox.run())
    await asyncio.sleep(0.3)
    outbox.put(an_event(2))
    running.cancel()
    await asyncio.wait([running])
    hangs = False
    await outbox.flush(1)
    assert sent == ["c1", "c2"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer_s", "trouble", "why"),
    [
        (0, ServerError("off", "No server."), "No server."),
        (60, None, "in time"),
        (0, ServerError("error", "Too large.", refused=True), "Too large."),
    ],
)
async def test_what_the_last_try_could_not_send_is_counted_and_said(
    answer_s: float, trouble: ServerError | None, why: str
) -> None:
    said: list[str] = []

    async def post(batch: EventBatch) -> None:
        await asyncio.sleep(answer_s)
        if trouble is not None:
            raise trouble

    outbox = Outbox(post, said.append)
    for number in range(3):
        outbox.put(an_event(number))
    await outbox.flush(0.05)
    assert outbox.dropped == 3
    (told,) = said
    assert "so far: 3." in told
    assert why in told
    await outbox.flush(0.05)
    assert len(said) == 1, "there is nothing left to tell"
