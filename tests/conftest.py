"""What tests of several parts share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.lsp.fake_server import FakeServer

pytest_plugins = ["tests.skips"]

for _name in [name for name in os.environ if name.startswith("ACEPILOT_") and name != "ACEPILOT_HOME"]:
    del os.environ[_name]  # a developer's own settings reach no test, nor a test his database of events

settings.register_profile("acepilot", deadline=None)  # a busy machine fails no test
settings.load_profile("acepilot")


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer()
    server.start()
    yield server
    server.stop()
