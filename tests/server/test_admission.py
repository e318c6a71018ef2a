"""Who gets a place in the engine, who waits, who is refused, and when to try again."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from acepilot.errors import BadRequest, Overloaded
from server import admission
from server.admission import MAX_RETRY_AFTER_S, Admission
from server.client import Client

ALICE, BOB, CAROL = Client("alice"), Client("bob"), Client("carol")


@contextlib.asynccontextmanager
async def running(
    places: Admission, *wanted: tuple[Client, bool]
) -> AsyncGenerator[tuple[list[Client], list[asyncio.Event]]]:
    """Ask for one place after another; yield the clients that got one, and events that give it back."""
    got: list[Client] = []
    ends = [asyncio.Event() for _ in wanted]

    async def hold(client: Client, is_editor: bool, end: asyncio.Event) -> None:
        with places.reserved(client, 1, is_editor=is_editor):
            async with places.place(client, is_editor=is_editor):
                got.append(client)
                await end.wait()

    tasks = [asyncio.create_task(hold(*one, end)) for one, end in zip(wanted, ends, strict=True)]
    await settle()
    try:
        yield got, ends
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (places.in_hand, places.active, places.waiting) == (0, 0, 0)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_one_client_leaves_places_for_others() -> None:
    places = Admission(16, 32, 10)
    async with running(places, *[(ALICE, False)] * 20) as (got, _):
        assert (places.active, places.waiting) == (14, 6)
        async with running_beside(places, BOB, CAROL):
            assert places.active == 16
        assert got == [ALICE] * 14


@contextlib.asynccontextmanager
async def running_beside(places: Admission, *clients: Client) -> AsyncGenerator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            stack.enter_context(places.reserved(client, 1, is_editor=True))
            waited_s = await stack.enter_async_context(places.place(client, is_editor=True))
            assert waited_s < 5
        yield


@pytest.mark.asyncio
async def test_a_server_with_few_places_gives_them_all() -> None:
    places = Admission(3, 0, 10)
    async with running(places, *[(ALICE, False)] * 3):
        assert (places.active, places.waiting) == (3, 0)


@pytest.mark.asyncio
async def test_editors_come_first_and_clients_take_turns() -> None:
    places = Admission(1, 32, 10)
    order = [(CAROL, False), (ALICE, False), (ALICE, False), (ALICE, False), (BOB, False), (BOB, True)]
    async with running(places, *order) as (got, ends):
        for end in ends:
            end.set()
        await settle()
    assert got == [CAROL, BOB, ALICE, BOB, ALICE, ALICE]


@pytest.mark.asyncio
async def test_who_leaves_the_line_or_the_engine_leaves_no_trace() -> None:
    places = Admission(1, 4, 10)
    async with running(places, (ALICE, False), (BOB, False)) as (got, ends):
        leaving = asyncio.create_task(places.place(CAROL, is_editor=True).__aenter__())
        await settle()
        ends[0].set()
        leaving.cancel()
        await settle()
        assert got == [ALICE, BOB]
        assert places.active == 1


@pytest.mark.asyncio
async def test_the_queue_keeps_room_for_other_clients() -> None:
    places = Admission(16, 32, 10)
    with contextlib.ExitStack() as stack:

        def reserve(client: Client, sequences: int, *, is_editor: bool = False) -> None:
            stack.enter_context(places.reserved(client, sequences, is_editor=is_editor))

        for _ in range(5):
            reserve(ALICE, 8)
        with pytest.raises(Overloaded, match="40 of them yours"):
            reserve(ALICE, 8)
        with pytest.raises(Overloaded, match="0 of them yours"):
            reserve(BOB, 8)  # a newcomer gets one place of the reserve, not eight
        for number in range(5):
            reserve(Client(f"program {number}"), 1)
        with pytest.raises(Overloaded, match="0 of them yours"):
            reserve(BOB, 1)
        reserve(CAROL, 3, is_editor=True)  # for example, three drafts
        with pytest.raises(Overloaded, match="3 of them yours"):
            reserve(CAROL, 1, is_editor=True)
    assert places.in_hand == 0
    with pytest.raises(BadRequest), places.reserved(ALICE, 49, is_editor=False):
        pass
    with places.reserved(ALICE, 48, is_editor=False):
        assert places.in_hand == 48, "an idle server takes every request that it can hold"


@pytest.mark.asyncio
@pytest.mark.parametrize(("ran_s", "expected_s"), [(0.0, 1), (7.2, 8), (4000.0, MAX_RETRY_AFTER_S)])
async def test_retry_after_grows_with_the_time_that_running_completions_take(
    monkeypatch: pytest.MonkeyPatch, ran_s: float, expected_s: int
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(admission.time, "perf_counter", lambda: now_s)
    places = Admission(2, 0, 10)
    async with running(places, (ALICE, False), (BOB, False)):
        now_s += ran_s
        with pytest.raises(Overloaded) as refused, places.reserved(CAROL, 1, is_editor=True):
            pass
        assert refused.value.retry_after_s == expected_s
