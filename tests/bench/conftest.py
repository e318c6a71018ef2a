"""A fake completion server for the language server under measurement."""

from collections.abc import Iterator

import pytest

from tests.lsp.fake_server import FakeServer


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer(text="a + b")
    server.start()
    yield server
    server.stop()
