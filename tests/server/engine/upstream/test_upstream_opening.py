"""Opening the upstream engine: the addresses, the token, the model's name and the folder."""

from pathlib import Path
from typing import Any

import pytest

from acepilot.errors import ConfigError, ModelBroken, ServerNotReady
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.upstream.engine import UpstreamEngine
from tests.server.engine.upstream.upstream_fake import (
    FIM_TOKENS,
    FakeUpstream,
    Open,
    collect,
    text_of,
    tokenizer_folder,
)


@pytest.mark.parametrize(
    ("card", "context_tokens"),
    [
        ({"max_model_len": 256}, 256),
        ({"owned_by": "llamacpp", "meta": {"n_ctx": 128, "n_ctx_train": 4096}}, 128),
        ({"owned_by": "acepilot", "context_tokens": 300}, 300),
        ({"max_model_len": 4096}, 512),
        ({}, 512),
    ],
)
def test_the_context_is_the_smallest_that_is_stated(
    opened: Open, fake: FakeUpstream, card: dict[str, Any], context_tokens: int
) -> None:
    fake.cards = [{"id": "ours", **card}]
    info = opened().info
    assert (info.context_tokens, info.engine, info.model) == (context_tokens, "upstream", "ours")
    assert info.fim is not None
    assert info.fim.name == "qwen"
    assert {"<|endoftext|>", "<|fim_prefix|>"} <= info.special_tokens


@pytest.mark.asyncio
async def test_sentinels_that_a_folder_does_not_mark_as_special(fake: FakeUpstream, tmp_path: Path) -> None:
    """Published Qwen2.5-Coder folders have such sentinels."""
    fake.pieces = ["one", "<|fim_pre", "fix|>def"]
    engine = UpstreamEngine(tokenizer_folder(tmp_path, special=False), EngineOptions(upstream=(fake.url,)))
    try:
        assert engine.info.fim is not None
        assert set(FIM_TOKENS) <= engine.info.special_tokens
        assert text_of(await collect(engine)) == "one"
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("listed", "taken"),
    [
        (["whatever"], "whatever"),
        (["other", "ours"], "ours"),
        (["other", "/models/ours"], "/models/ours"),
        (["other:latest", "ours:latest"], "ours:latest"),
    ],
)
@pytest.mark.asyncio
async def test_the_model_s_name_is_what_the_server_calls_it(
    opened: Open, fake: FakeUpstream, listed: list[str], taken: str
) -> None:
    fake.cards = [{"id": name} for name in listed]
    await collect(opened())
    assert fake.bodies[0]["model"] == taken


def test_several_models_of_other_names_are_listed(opened: Open, fake: FakeUpstream) -> None:
    fake.cards = [{"id": "llama"}, {"id": "qwen"}]
    with pytest.raises(ConfigError, match=r"none is called ours: llama, qwen.*--served-model-name ours"):
        opened()


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ((), "--upstream http://"),
        (("gpu1:8000",), "write http://HOST:PORT"),
        (("http://me:secret@gpu1:8000",), "ACEPILOT_UPSTREAM_TOKEN"),
    ],
)
def test_addresses_are_checked(model: ModelFolder, urls: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        UpstreamEngine(model, EngineOptions(upstream=urls))
    assert "secret" not in raised.value.message


def test_the_same_address_twice_is_one_replica(opened: Open, fake: FakeUpstream) -> None:
    opened(fake.url, f"{fake.url}/", f"{fake.url}/v1")
    assert fake.asked_health == 1


@pytest.mark.asyncio
async def test_the_token_is_sent_and_a_missing_one_is_an_error(opened: Open, fake: FakeUpstream) -> None:
    fake.token = "secret-token"
    with pytest.raises(ConfigError, match=r"answers 401.*ACEPILOT_UPSTREAM_TOKEN"):
        opened()
    assert text_of(await collect(opened(upstream_token="secret-token"))) == "one two three"


def test_an_unreachable_server_is_an_error_at_opening(opened: Open, fake: FakeUpstream) -> None:
    fake.stop()
    with pytest.raises(ServerNotReady, match=f"{fake.url} cannot be reached.*Start one"):
        opened()


def test_a_folder_without_tokenizer_is_an_error(tmp_path: Path, fake: FakeUpstream) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelBroken, match="not the weights"):
        UpstreamEngine(ModelFolder("x", tmp_path, None), EngineOptions(upstream=(fake.url,)))
