"""Debian's Chromium, without what would disturb a test."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.needs import missing

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = """
no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update
disable-sync disable-dev-shm-usage
"""


@contextmanager
def chromium() -> Generator[Browser]:
    if not CHROMIUM.exists():
        missing("Chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[f"--{switch}" for switch in SWITCHES.split()]
        )
        yield browser
        browser.close()
