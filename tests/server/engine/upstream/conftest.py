"""Fixtures of the upstream engine's tests: a model's folder, a fake server, and engines on it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.upstream.engine import UpstreamEngine
from tests.server.engine.upstream.upstream_fake import FakeUpstream, Open, tokenizer_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tokenizer_folder(tmp_path_factory.mktemp("ours"))


@pytest.fixture
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def opened(model: ModelFolder, fake: FakeUpstream) -> Iterator[Open]:
    """Opens engines, on `fake` unless other addresses are given, and closes them after the test."""
    with ExitStack() as stack:

        def open_engine(*urls: str, **options: Any) -> UpstreamEngine:
            engine = UpstreamEngine(model, EngineOptions(upstream=urls or (fake.url,), **options))
            stack.callback(engine.close)
            return engine

        yield open_engine
