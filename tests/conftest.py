"""What tests of several parts share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.lsp.fake_server import FakeServer

pytest_plugins = ["tests.skips"]

settings.register_profile("acepilot", deadline=None)  # a busy machine fails no test
settings.load_profile("acepilot")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer()
    server.start()
    yield server
    server.stop()
