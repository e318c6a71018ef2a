"""A server of a test's own, in a process: the real one, or one that plays a script."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MODEL_LOAD_S = 90


class Server:
    """A server process of the test's own, and how to script it."""

    def __init__(self, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, *arguments, str(port)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        while self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(self.url)
                return
            time.sleep(0.1)
        pytest.fail("the server ended before it answered: its own words are on standard error")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def script(self, **script: Any) -> None:
        httpx.put(f"{self.url}/stub", json=script).raise_for_status()

    def seen(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}/stub").json()

    def count(self) -> int:
        return len(self.seen()["requests"])
