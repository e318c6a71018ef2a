"""A server that is killed and comes back on its port, for soak.py."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx
from benchmarks.processes import PeerFailed, end_group

START_S = 120.0
ASKS_AGAIN_S = 12.0
"""Language servers look after a server that was away every 10 s."""


class Phoenix:
    """`session` is the running server's in /proc; `away_s`: how long it was away. Raises PeerFailed."""

    def __init__(self, command: Sequence[str], url: str, log: Path) -> None:
        self._command = command
        self._log = log
        self.url = url
        self.away_s = 0.0
        self._killed_at: float | None = None
        self._back_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def session(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def is_away(self) -> bool:
        """It was killed, and clients cannot all know yet that it is back."""
        if self._killed_at is None:
            return False
        return self._back_at is None or time.monotonic() < self._back_at + ASKS_AGAIN_S

    def __enter__(self) -> "Phoenix":
        self._start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._process is not None:
            end_group(self._process)

    def die_and_rise(self) -> None:
        """Kills the server alone: its engine's process must end by itself, as after any crash."""
        assert self._process is not None
        self._killed_at = time.monotonic()
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        time.sleep(3)
        self._start()
        self._back_at = time.monotonic()
        self.away_s = self._back_at - self._killed_at

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end_group(self._process)
                raise PeerFailed(f"The server does not start; its output is in {self._log}.")
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False
