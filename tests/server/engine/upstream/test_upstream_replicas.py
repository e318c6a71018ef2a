"""Several upstream servers as one: which replica gets a request, what is retried, and which one comes
back."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack

import pytest
import structlog

from acepilot.errors import ConfigError, EngineFailed, Overloaded, ServerNotReady
from acepilot.models.registry import ModelFolder
from server.engine.base import Delta, Engine, EngineOptions, GenerationRequest
from server.engine.upstream.engine import UpstreamEngine
from server.engine.upstream.replica import TimeLimits
from server.engine.upstream.replicas import BLOCK_CHARS
from server.options import ServiceOptions
from server.settings import ServerSettings
from server.state import ServerState
from tests.server.engine.upstream.upstream_fake import FakeUpstream, eventually_async

DOCUMENT = "".join(f"const value{number} = {number}\n" for number in range(100))
FAULTS = [{"refuses": 500}, {"refuses": 503}, {"refuses": 429}, {"dies_after": 0}, {"fails_after": 0}]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pair(stack: ExitStack) -> tuple[FakeUpstream, FakeUpstream]:
    return stack.enter_context(FakeUpstream()), stack.enter_context(FakeUpstream())


OpenPair = Callable[[TimeLimits], UpstreamEngine]


@pytest.fixture
def open_engine(stack: ExitStack, model: ModelFolder, pair: tuple[FakeUpstream, FakeUpstream]) -> OpenPair:
    """Return a function that opens an engine on `pair`, to be closed after the test."""

    def open_engine(limits: TimeLimits) -> UpstreamEngine:
        options = EngineOptions(upstream=tuple(fake.url for fake in pair))
        engine = UpstreamEngine(model, options, limits)
        stack.callback(engine.close)
        return engine

    return open_engine


@pytest.fixture
def engine(open_engine: OpenPair) -> UpstreamEngine:
    return open_engine(TimeLimits())


async def complete(engine: Engine, prompt: str) -> str:
    request = GenerationRequest(prompt, max_tokens=100)
    return "".join([delta.text async for delta in engine.generate(request)])


def asked(pair: tuple[FakeUpstream, FakeUpstream]) -> list[int]:
    return [len(fake.bodies) for fake in pair]


@pytest.mark.asyncio
async def test_requests_spread(engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]) -> None:
    for fake in pair:
        fake.step_s = 0.2
    await asyncio.gather(*(complete(engine, f"document {number}") for number in range(8)))
    assert asked(pair) == [4, 4]


@pytest.mark.asyncio
async def test_the_next_keystroke_goes_where_the_document_is(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    others = ["x" * BLOCK_CHARS * 2, "y" * BLOCK_CHARS * 2, "z" * BLOCK_CHARS * 2]
    for typed in range(10):
        await complete(engine, DOCUMENT + "const"[:typed])
        await complete(engine, others[typed % 3] + "const"[:typed])
    for text in (DOCUMENT, *others):
        seen = [sum(prompt.startswith(text) for prompt in fake.prompts) for fake in pair]
        assert 0 in seen, "one document was sent to both"
    assert all(asked(pair)), "and all documents went to one"


@pytest.mark.asyncio
async def test_a_replica_that_is_clearly_busier_loses_its_document(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    await complete(engine, DOCUMENT)
    home, other = sorted(pair, key=lambda fake: not fake.bodies)
    home.step_s = 60
    waiting: list[asyncio.Task[str]] = []
    while not other.bodies:
        waiting.append(asyncio.create_task(complete(engine, DOCUMENT + "x" * len(waiting))))
        assert await eventually_async(lambda: len(home.bodies) + len(other.bodies) == 1 + len(waiting))
        assert len(waiting) < 20, "it never went elsewhere"
    assert len(waiting) == 5, "four more than elsewhere wait for it, and the fifth does not"
    assert await complete(engine, DOCUMENT) == "one two three"
    assert len(other.bodies) == 2, "and there it stays"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.asyncio
async def test_what_fails_before_its_first_token_is_tried_elsewhere(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream], fault: dict[str, int]
) -> None:
    for name, value in fault.items():
        setattr(pair[0], name, value)
    texts = [await complete(engine, f"document {number}") for number in range(4)]
    assert texts == ["one two three"] * 4
    assert asked(pair)[1] == 4


@pytest.mark.parametrize("fault", [{"dies_after": 1}, {"fails_after": 1}], ids=str)
@pytest.mark.asyncio
async def test_what_fails_after_its_first_token_is_not_retried(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream], fault: dict[str, int]
) -> None:
    for fake in pair:
        for name, value in fault.items():
            setattr(fake, name, value)
    shown: list[Delta] = []

    async def read(stream: AsyncGenerator[Delta, None]) -> None:
        async for delta in stream:
            shown.append(delta)

    with pytest.raises(EngineFailed, match="http://"):
        await read(engine.generate(GenerationRequest("x", max_tokens=100)))
    assert [delta.text for delta in shown] == ["one"]
    assert sum(asked(pair)) == 1


@pytest.mark.asyncio
async def test_a_bad_request_is_bad_everywhere(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    for fake in pair:
        fake.refuses = 400
    with pytest.raises(EngineFailed, match="answers 400"):
        await complete(engine, "x")
    assert sum(asked(pair)) == 1


@pytest.mark.asyncio
async def test_tries_end(engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]) -> None:
    for fake in pair:
        fake.refuses = 500
    with pytest.raises(EngineFailed, match="answers 500"):
        await complete(engine, "x")
    assert sorted(asked(pair)) == [1, 2]


@pytest.mark.asyncio
async def test_full_queues_say_when_to_retry(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    for fake in pair:
        fake.refuses = 429
    with pytest.raises(Overloaded, match="queues full") as raised:
        await complete(engine, "x")
    assert raised.value.retry_after_s >= 1


@pytest.mark.asyncio
async def test_a_replica_that_dies_is_left_out_and_comes_back(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    with structlog.testing.capture_logs() as events:
        pair[0].stop()
        assert [await complete(engine, f"{number}") for number in range(4)] == ["one two three"] * 4
        failed = [event["failed"] for event in events if event["event"] == "upstream_tries_again"]
        assert failed == [pair[0].url], "only the first had to find out"
        pair[0].start()
        assert await eventually_async(lambda: any(event["event"] == "upstream_up" for event in events))
        for number in range(4):
            await complete(engine, f"{number}")
    assert pair[0].bodies
    assert [event["event"] for event in events].count("upstream_down") == 1


@pytest.mark.asyncio
async def test_an_unhealthy_replica_is_left_out_though_it_would_answer(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    pair[0].health = 503
    pair[0].dies_after = 0
    with structlog.testing.capture_logs() as events:
        while not pair[0].bodies:
            await complete(engine, "x")
        assert await eventually_async(lambda: any("503 at /health" in str(event) for event in events))
    pair[0].dies_after = None
    before = len(pair[0].bodies)
    for number in range(4):
        await complete(engine, f"{number}")
    assert len(pair[0].bodies) == before


@pytest.mark.asyncio
async def test_a_replica_without_health_answer_is_left_out_unless_it_sends_tokens(
    open_engine: OpenPair, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    engine = open_engine(TimeLimits(health=0.3, token_proves_health=1.5, check_healthy=0.5))
    with structlog.testing.capture_logs() as events:
        for fake in pair:
            fake.health_s = 60
            fake.pieces, fake.step_s = ["word "] * 150, 0.02
        await asyncio.gather(complete(engine, "one"), complete(engine, "two"))
        assert asked(pair) == [1, 1]
        assert all(fake.asked_health > 1 for fake in pair)
        assert not events, "while tokens came"
        assert await eventually_async(lambda: len(events) == 2)
    assert {event["why"] for event in events} == {"did not answer within 0 s"}


@pytest.mark.parametrize("step_s", [60.0, 0.5])
@pytest.mark.asyncio
async def test_a_server_that_falls_silent_is_given_up_and_not_tried_again(
    open_engine: OpenPair, pair: tuple[FakeUpstream, FakeUpstream], step_s: float
) -> None:
    engine = open_engine(TimeLimits(first_token=2.0, next_token=0.1))
    for fake in pair:
        fake.step_s = step_s
    with pytest.raises(EngineFailed, match="gave no token for too long"):
        await complete(engine, "x")
    assert sum(asked(pair)) == 1
    assert await eventually_async(lambda: sum(fake.left_early for fake in pair) == 1)


@pytest.mark.asyncio
async def test_a_replica_that_comes_back_with_another_model_is_left_out(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    with structlog.testing.capture_logs() as events:
        pair[0].stop()
        pair[0].cards = [{"id": "another"}]
        pair[0].start()
        pair[0].refuses = 503  # so that it is looked at again at once
        while not pair[0].bodies:
            await complete(engine, f"{len(pair[1].bodies)}")
        assert await eventually_async(lambda: any("another" in str(event.get("why")) for event in events))
        before = len(pair[0].bodies)
        for number in range(4):
            await complete(engine, f"{number}")
    assert len(pair[0].bodies) == before


@pytest.mark.asyncio
async def test_no_replica_left_is_an_error_and_the_next_that_comes_is_used(
    engine: UpstreamEngine, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    for fake in pair:
        fake.stop()
    with pytest.raises(ServerNotReady, match=f"{pair[0].url} cannot be reached; {pair[1].url} cannot"):
        await complete(engine, "x")
    pair[1].start()
    assert await complete(engine, "x") == "one two three", "without waiting for a health check"


def test_one_of_two_is_enough_to_open(model: ModelFolder, pair: tuple[FakeUpstream, FakeUpstream]) -> None:
    pair[0].stop()
    UpstreamEngine(model, EngineOptions(upstream=tuple(fake.url for fake in pair))).close()


def test_a_replica_that_serves_other_models_is_named_at_opening(
    model: ModelFolder, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    pair[1].cards = [{"id": "a"}, {"id": "b"}]
    with pytest.raises(ConfigError, match=f"{pair[1].url} serves several models"):
        UpstreamEngine(model, EngineOptions(upstream=tuple(fake.url for fake in pair)))


@pytest.mark.asyncio
async def test_a_server_that_starts_first_waits_and_names_the_replica(
    model: ModelFolder, pair: tuple[FakeUpstream, FakeUpstream]
) -> None:
    fake = pair[0]
    fake.stop()
    state = ServerState(
        ServerSettings.load({"model": "ours"}),
        lambda: UpstreamEngine(model, EngineOptions(upstream=(fake.url,))),
        ServiceOptions(),
    )
    loading = asyncio.create_task(state.load())
    assert await eventually_async(lambda: fake.url in state.ready().detail)
    assert state.ready().status == "loading"
    with pytest.raises(ServerNotReady, match="cannot be reached"):
        _ = state.service
    fake.start()
    await asyncio.wait_for(loading, 20)
    assert state.ready().status == "ready"
    assert fake.prompts == ["#"]
    state.close()
