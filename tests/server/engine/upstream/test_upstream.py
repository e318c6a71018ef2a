"""The upstream engine against a scripted server: what it sends, and what it corrects in the answers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
import structlog

from acepilot.errors import EngineFailed
from acepilot.fim import render
from acepilot.models.registry import ModelFolder
from server.engine.base import Delta, GenerationRequest
from server.engine.upstream.protocol import BadAnswer, read_stream
from server.engine.upstream.tokenizer import FolderTokenizer
from tests.event_stream import SEPARATORS, cut_answers, event_stream
from tests.server.engine.upstream.upstream_fake import (
    REQUEST,
    FakeUpstream,
    Open,
    collect,
    eventually_async,
    text_of,
)

OPENAI_FIELDS = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stream", "stream_options"}


@pytest.mark.asyncio
async def test_a_completion_streams_and_ends(opened: Open, fake: FakeUpstream) -> None:
    fake.usage = {"prompt_tokens": 19, "completion_tokens": 3}
    deltas = await collect(opened())
    assert [delta.text for delta in deltas if delta.text] == ["one", " two", " three"]
    assert [delta.finish for delta in deltas] == [None] * (len(deltas) - 1) + ["stop"]


@pytest.mark.asyncio
async def test_completions_share_a_connection(opened: Open, fake: FakeUpstream) -> None:
    engine = opened()
    for _ in range(3):
        await collect(engine)
    assert len(fake.ports) < 3  # 1, or 2 if a health check was using the first


@pytest.mark.asyncio
async def test_a_connection_that_stays_open_after_the_end_is_given_up(
    opened: Open, fake: FakeUpstream
) -> None:
    fake.lingers_s = 600
    assert text_of(await collect(opened())) == "one two three"
    assert await eventually_async(lambda: fake.open_streams == 0)


@pytest.mark.asyncio
async def test_vllm_gets_the_fields_that_keep_prompt_and_sampling_unchanged(
    opened: Open, fake: FakeUpstream
) -> None:
    await collect(opened())
    body = fake.bodies[0]
    expected = {
        "model": "ours",
        "prompt": REQUEST.prompt,
        "max_tokens": 100,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    assert expected.items() <= body.items()
    assert (body["seed"], body["stream"], body["add_special_tokens"]) == (5, True, True)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)


@pytest.mark.asyncio
async def test_a_server_of_unknown_kind_gets_openai_s_fields_only(opened: Open, fake: FakeUpstream) -> None:
    fake.owned_by = "organization_owner"
    await collect(opened())
    assert fake.bodies[0].keys() == OPENAI_FIELDS


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "knows_salts"), [("vllm", True), ("acepilot", True), ("llamacpp", False), ("library", False)]
)
async def test_a_cache_salt_goes_to_servers_that_know_it(
    opened: Open, fake: FakeUpstream, kind: str, knows_salts: bool
) -> None:
    fake.owned_by = kind
    engine = opened()
    for salt in ("", "of one client"):
        await collect(engine, replace(REQUEST, cache_salt=salt))
    assert "cache_salt" not in fake.bodies[0]
    assert fake.bodies[1].get("cache_salt") == ("of one client" if knows_salts else None)
    if kind == "vllm":
        with pytest.raises(EngineFailed):  # the fake scores nothing
            await engine.score("a", "b", cache_salt="of one client")
        assert fake.bodies[2]["cache_salt"] == "of one client"


@pytest.mark.asyncio
async def test_tokens_are_those_the_server_counts(opened: Open, fake: FakeUpstream) -> None:
    fake.usage = {"prompt_tokens": 19, "completion_tokens": 40}
    assert sum(delta.tokens for delta in await collect(opened())) == 40


@pytest.mark.asyncio
async def test_without_usage_and_reason_our_tokenizer_counts_and_the_limit_decides(
    opened: Open, fake: FakeUpstream
) -> None:
    fake.finish = None
    engine = opened()
    deltas = await collect(engine)
    assert sum(delta.tokens for delta in deltas) == len("one two three")  # one token a byte
    assert deltas[-1].finish == "stop"
    deltas = await collect(engine, replace(REQUEST, max_tokens=6))
    assert sum(delta.tokens for delta in deltas) == 6
    assert deltas[-1].finish == "length"


@pytest.mark.asyncio
async def test_a_sentinel_ends_the_completion_and_the_stream(opened: Open, fake: FakeUpstream) -> None:
    fake.pieces = ["return a", "<|fim_", "suffix|>", *[" more"] * 1000]
    fake.step_s = 0.005
    engine = opened()
    deltas = await collect(engine)
    assert text_of(deltas) == "return a"
    assert deltas[-1].finish == "stop"
    assert await eventually_async(lambda: fake.left_early == 1)


@pytest.mark.asyncio
async def test_text_comes_whole(opened: Open, fake: FakeUpstream) -> None:
    fake.pieces = ["'\ud83d", "\ude00", "\u2028", "\x85", "漢\ufffd"]
    assert text_of(await collect(opened())) == "'😀\u2028\x85漢"


@pytest.mark.asyncio
async def test_where_an_answer_is_cut_changes_nothing() -> None:
    texts = [f"'é{SEPARATORS}😀'", "b"]
    first, second = (json.dumps({"choices": [{"text": text}]}, ensure_ascii=False) for text in texts)
    raw = f": hello\r\n\r\ndata:{first}\r\n\r\ndata: {second}\n\ndata: [DONE]\n\n".encode()
    for response in cut_answers(raw):
        assert [chunk.text async for chunk in read_stream(response)] == texts
        assert response.is_closed


@pytest.mark.asyncio
async def test_keep_alives_are_not_chunks() -> None:
    chunk = b'data: {"choices": [{"text": "a", "finish_reason": "stop"}]}\n\n'
    response = event_stream(b"id: 1\n" + chunk + b": still here\n\nevent: ping\n\ndata:\n\n")
    assert [chunk.text async for chunk in read_stream(response)] == ["a"]


@pytest.mark.asyncio
async def test_an_html_page_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer, match="does not stream"):
        await anext(read_stream(event_stream(b"<html>", content_type="text/html")))


@pytest.mark.asyncio
async def test_an_end_without_reason_or_done_is_a_failure(opened: Open, fake: FakeUpstream) -> None:
    fake.finish, fake.says_done = None, False
    with pytest.raises(EngineFailed, match="broke off"):
        await collect(opened())


@pytest.mark.asyncio
async def test_vllm_s_abort_is_a_failure(opened: Open, fake: FakeUpstream) -> None:
    fake.finish = "abort"
    with pytest.raises(EngineFailed, match=r"stopped early \(abort\)"):
        await collect(opened())


@pytest.mark.asyncio
async def test_closing_the_generator_closes_the_stream_at_once(opened: Open, fake: FakeUpstream) -> None:
    fake.pieces, fake.step_s = ["word "] * 1000, 0.01
    engine = opened()
    stream = engine.generate(REQUEST)
    await anext(stream)
    assert engine.load().active == 1
    await stream.aclose()
    assert await eventually_async(lambda: fake.left_early == 1 and engine.load().active == 0)


@pytest.mark.asyncio
async def test_leaving_before_the_first_token_closes_the_stream(opened: Open, fake: FakeUpstream) -> None:
    fake.step_s = 60
    engine = opened()
    waiting = asyncio.create_task(collect(engine))
    assert await eventually_async(lambda: fake.open_streams == 1)
    waiting.cancel()
    assert await eventually_async(lambda: fake.left_early == 1 and engine.load().active == 0)


@pytest.mark.asyncio
async def test_closing_the_engine_ends_its_streams(opened: Open, fake: FakeUpstream) -> None:
    fake.pieces, fake.step_s = ["word "] * 1000, 0.01
    engine = opened()
    async with aclosing(engine.generate(REQUEST)) as stream:
        await anext(stream)
        await asyncio.to_thread(engine.close)
        with pytest.raises(EngineFailed, match="closed"):
            await _to_the_end(stream)
    with pytest.raises(EngineFailed, match="closed"):
        await collect(engine)
    assert await eventually_async(lambda: fake.left_early == 1)


async def _to_the_end(stream: AsyncGenerator[Delta, None]) -> None:
    async for _ in stream:
        pass


@pytest.mark.asyncio
async def test_vllm_scores(opened: Open, model: ModelFolder, fake: FakeUpstream) -> None:
    engine = opened()
    ids = {char: FolderTokenizer(model).encode(char, begin=False)[0] for char in "abc"}
    log_probs = [None, {str(ids["b"]): {"logprob": -0.5}}, {str(ids["c"]): {"logprob": -1.5, "rank": 2}}]
    fake.answer = {"choices": [{"text": "x", "prompt_logprobs": log_probs}]}
    assert await engine.score("a", "bc") == [-0.5, -1.5]
    assert fake.prompts == [[ids["a"], ids["b"], ids["c"]]]
    assert await engine.score("a", "") == []
    fake.answer = {"choices": [{"text": "x"}]}
    with pytest.raises(EngineFailed, match="no log probabilities"):
        await engine.score("a", "bc")


@pytest.mark.asyncio
async def test_other_servers_do_not_score(opened: Open, fake: FakeUpstream) -> None:
    fake.owned_by = "llamacpp"
    with pytest.raises(EngineFailed, match=r"Only vLLM .* torch or openvino"):
        await opened().score("a", "b")
    assert fake.bodies == []


@pytest.mark.asyncio
async def test_an_empty_prompt_is_not_sent(opened: Open, fake: FakeUpstream) -> None:
    with pytest.raises(EngineFailed, match="empty"):
        await collect(opened(), GenerationRequest("", max_tokens=4))
    assert fake.bodies == []


@pytest.mark.asyncio
async def test_no_code_in_logs_or_errors(
    opened: Open, fake: FakeUpstream, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    code = "secret_recipe = 42"
    request = GenerationRequest(code, max_tokens=4)
    messages: list[str] = []
    engine = opened()
    with structlog.testing.capture_logs() as events:
        for fault in (
            {"refuses": 500},
            {"refuses": 422},
            {"fails_after": 0},
            {"fails_after": 1},
            {"dies_after": 1},
        ):
            fake.refuses = fake.fails_after = fake.dies_after = None
            fake.refusal = {
                "error": {"message": f"cannot take {code!r}", "type": "BadRequestError", "code": code}
            }
            for name, value in fault.items():
                setattr(fake, name, value)
            with pytest.raises(EngineFailed) as raised:
                await collect(engine, request)
            messages.append(raised.value.message)
    assert "answers 422 (BadRequestError)" in messages[1]
    logged = f"{events} {messages} {caplog.text} {capfd.readouterr()}"
    assert "upstream_tries_again" in logged
    assert "secret_recipe" not in logged


@pytest.mark.asyncio
async def test_a_server_that_wraps_prompts_is_logged_once(opened: Open, fake: FakeUpstream) -> None:
    engine = opened()
    with structlog.testing.capture_logs() as events:
        fake.usage = {"prompt_tokens": len(REQUEST.prompt) + 30, "completion_tokens": 3}
        await collect(engine)
        await collect(engine)
    assert [event["event"] for event in events] == ["upstream_prompt_differs"]
    assert events[0]["theirs_tokens"] == events[0]["ours_tokens"] + 30


@pytest.mark.asyncio
async def test_a_rendered_prompt_passes_an_acepilot_unchanged(
    opened: Open, serve: Callable[..., Any], scripted: Any
) -> None:
    engine = opened(serve(scripted).url)
    prompt = render(engine.info.fim, "before <", "> after", (), path="", comment="#")
    assert prompt.startswith("<|fim_prefix|>")
    assert text_of(await collect(engine, GenerationRequest(prompt, max_tokens=8))) == "one two three"
    assert scripted.prompts[-1] == prompt
