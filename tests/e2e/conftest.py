"""What tests in real editors and pages share: a browser, and a server with the starter."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.chromium import chromium
from tests.e2e.own_server import Server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def real_url() -> Iterator[str]:
    given = os.environ.get("ACEPILOT_E2E_URL")
    if given:
        yield given.rstrip("/")
        return
    server = Server("-m", "server", "--model", "starter", "--port")
    yield server.url
    server.stop()
