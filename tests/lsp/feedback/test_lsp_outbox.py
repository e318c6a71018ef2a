"""The queue of events: its limit, its retries, and the count of dropped events."""

import asyncio

import pytest

from acepilot.events import MAX_EVENTS, CompletionEvent, EventBatch
from lsp.answers import ServerError
from lsp.client import CompletionClient
from lsp.feedback.outbox import CAPACITY, Outbox
from lsp.settings import LspSettings
from tests.lsp.fake_server import FakeServer


def an_event(number: int) -> CompletionEvent:
    return CompletionEvent(completion_id=f"c{number}", kind="shown", at=1.0)


@pytest.mark.asyncio
async def test_the_outbox_is_bounded_and_counts_what_it_drops() -> None:
    sent: list[int] = []
    logged: list[str] = []
    away = True

    async def post(batch: EventBatch) -> None:
        if away:
            raise ServerError("off", "No server.")
        sent.extend(int(event.completion_id[1:]) for event in batch.events)
        assert len(batch.events) <= MAX_EVENTS

    outbox = Outbox(post, logged.append)
    for number in range(CAPACITY + 25):
        outbox.put(an_event(number))
    assert outbox.dropped == 25
    assert [line.partition("far: ")[2].split(".")[0] for line in logged] == ["1", "10"]
    away = False
    await outbox.flush(1)
    assert sent == list(range(25, CAPACITY + 25)), "in order, each once"


@pytest.mark.asyncio
async def test_a_batch_in_flight_is_not_lost() -> None:
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
async def test_events_that_the_last_flush_cannot_send_are_counted_and_logged(
    answer_s: float, trouble: ServerError | None, why: str
) -> None:
    logged: list[str] = []

    async def post(batch: EventBatch) -> None:
        await asyncio.sleep(answer_s)
        if trouble is not None:
            raise trouble

    outbox = Outbox(post, logged.append)
    for number in range(3):
        outbox.put(an_event(number))
    await outbox.flush(0.05)
    assert outbox.dropped == 3
    (line,) = logged
    assert "so far: 3." in line
    assert why in line
    await outbox.flush(0.05)
    assert len(logged) == 1, "nothing was left to drop"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "refused"),
    [(404, True), (413, True), (422, True)]
    + [(status, False) for status in (401, 403, 408, 429, 500, 502, 503, 504)],
)
async def test_only_a_refusal_of_the_request_itself_is_final(
    fake: FakeServer, status: int, refused: bool
) -> None:
    fake.events_status = status
    client = CompletionClient(LspSettings.load({"server_url": fake.url}))
    with pytest.raises(ServerError) as caught:
        await client.send_events(EventBatch(events=[an_event(1)]))
    await client.aclose()
    assert caught.value.refused == refused
