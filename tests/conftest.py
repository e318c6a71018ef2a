"""What tests of several parts share."""

from collections.abc import Iterator

import pytest

from tests.lsp.fake_server import FakeServer

pytest_plugins = ["tests.skips"]


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer()
    server.start()
    yield server
    server.stop()
