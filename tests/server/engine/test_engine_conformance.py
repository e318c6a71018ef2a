"""What the service expects of every engine; the fixture `engine` runs these tests for each."""

import asyncio
import contextlib

import pytest

from acepilot.errors import EngineFailed
from server.engine.base import Delta, Engine, GenerationRequest

PROMPT = "def add(a, b):\n    "


async def collect(engine: Engine, request: GenerationRequest) -> list[Delta]:
    return [delta async for delta in engine.generate(request)]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def until_idle(engine: Engine, within_s: float = 2.0) -> bool:
    for _ in range(int(within_s / 0.01)):
        if engine.load().active == 0:
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.asyncio
async def test_streams_token_by_token_and_ends_once(engine: Engine) -> None:
    deltas = await collect(engine, GenerationRequest(PROMPT, max_tokens=12))
    assert [delta.finish for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish in {"stop", "length"}
    assert len(deltas) > 3, "it came in one piece"
    assert sum(delta.tokens for delta in deltas) <= 12


@pytest.mark.asyncio
async def test_max_tokens_ends_with_length(engine: Engine) -> None:
    deltas = await collect(engine, GenerationRequest("x = [1, 2, 3, 4, 5, 6,", max_tokens=3))
    assert deltas[-1].finish == "length"
    assert sum(delta.tokens for delta in deltas) == 3


@pytest.mark.asyncio
async def test_greedy_repeats_itself(engine: Engine) -> None:
    first, second = [
        text_of(await collect(engine, GenerationRequest("import os\n", max_tokens=8))) for _ in range(2)
    ]
    assert first == second


@pytest.mark.asyncio
async def test_a_cache_salt_keeps_caches_apart_and_changes_no_text(engine: Engine) -> None:
    prompt = "".join(f"salted_{number} = {number}\n" for number in range(12))
    texts: list[str] = []
    reused_tokens: list[int] = []
    for salt in ("one", "two", "one"):
        before = engine.load().counts.reused_tokens
        texts.append(text_of(await collect(engine, GenerationRequest(prompt, max_tokens=4, cache_salt=salt))))
        reused_tokens.append(engine.load().counts.reused_tokens - before)
    assert texts[0] == texts[1] == texts[2]
    assert reused_tokens[1] == 0
    # What happens in another server is not counted here.
    assert engine.info.engine == "upstream" or reused_tokens[2] > engine.count_tokens(prompt) // 2


@pytest.mark.asyncio
async def test_sampling_follows_its_seed(engine: Engine) -> None:
    texts = [
        text_of(
            await collect(
                engine, GenerationRequest(PROMPT, max_tokens=24, temperature=1.5, top_p=1.0, seed=seed)
            )
        )
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.asyncio
async def test_special_tokens_never_show(engine: Engine) -> None:
    deltas = await collect(engine, GenerationRequest("Hello. Bye.", max_tokens=64))
    assert not [token for token in engine.info.special_tokens if token in text_of(deltas)]


@pytest.mark.asyncio
async def test_closing_a_stream_frees_its_place(engine: Engine) -> None:
    stream = engine.generate(GenerationRequest("def f():\n", max_tokens=2000))
    await anext(stream)
    assert engine.load().active == 1
    await stream.aclose()
    assert await until_idle(engine)


@pytest.mark.asyncio
async def test_closing_during_a_long_prefill_frees_its_place(engine: Engine) -> None:
    prompt = "".join(f"value_{number} = {number * 7919}\n" for number in range(200))
    task = asyncio.create_task(collect(engine, GenerationRequest(prompt, max_tokens=4)))
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert await until_idle(engine)


@pytest.mark.asyncio
async def test_many_streams_share_steps_and_all_end(engine: Engine) -> None:
    requests = [GenerationRequest(f"# number {number}\nx = ", max_tokens=16) for number in range(24)]
    results = await asyncio.gather(*(collect(engine, request) for request in requests))
    assert all(deltas[-1].finish for deltas in results)
    assert await until_idle(engine)


@pytest.mark.asyncio
async def test_a_cancelled_neighbour_changes_nothing(engine: Engine) -> None:
    request = GenerationRequest("import json\n", max_tokens=16)

    async def leave_early() -> None:
        stream = engine.generate(GenerationRequest("class A:\n", max_tokens=200))
        await anext(stream)
        await stream.aclose()

    alone = await collect(engine, request)
    together = (await asyncio.gather(collect(engine, request), leave_early(), leave_early()))[0]
    assert together[-1].finish == alone[-1].finish
    assert sum(delta.tokens for delta in together) == sum(delta.tokens for delta in alone)


@pytest.mark.asyncio
async def test_characters_of_many_bytes_arrive_whole(trained_engine: Engine) -> None:
    prompt = "emoji = ['😀', '🎉', '漢', '😀', '🎉', '漢', '😀', '🎉', '漢', '"
    deltas = await collect(trained_engine, GenerationRequest(prompt, max_tokens=24))
    assert "\ufffd" not in text_of(deltas)
    assert any(ord(char) > 0x2000 for char in text_of(deltas)), "the prompt no longer provokes such text"


@pytest.mark.asyncio
async def test_an_empty_prompt_is_refused_with_a_sentence(engine: Engine) -> None:
    with pytest.raises(EngineFailed, match="empty"):
        await collect(engine, GenerationRequest("", max_tokens=4))


# Not "upstream": another Acepilot sends no log probabilities; what vLLM sends is in test_upstream_vllm.py.
@pytest.mark.parametrize("trained_engine", ["openvino", "torch"], indirect=True)
@pytest.mark.asyncio
async def test_scores_prefer_the_likely_and_are_stable(trained_engine: Engine) -> None:
    likely, again = [await trained_engine.score("for i in range(", "10):") for _ in range(2)]
    unlikely = await trained_engine.score("for i in range(", "zebra zebra")
    assert len(likely) == trained_engine.count_tokens("10):")
    assert all(value <= 0 for value in likely)
    assert likely == pytest.approx(again, abs=0.2)
    assert sum(likely) / len(likely) > sum(unlikely) / len(unlikely)


def test_counts_grow_with_the_text(engine: Engine) -> None:
    assert engine.count_tokens("") == 0
    assert 0 < engine.count_tokens("a") < engine.count_tokens("a b c d e f")
