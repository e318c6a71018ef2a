"""Run a server that is killed and starts again on its port; for soak.py."""

import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from bench.peers.processes import answers, running

START_S = 120.0
ASKS_AGAIN_S = 12.0
"""Seconds between two looks of a language server for a server that was away."""


class RestartingServer:
    """A server that can be killed and started again. Raises PeerFailed.

    `session` is the running server's session id. `away_s` is the time without a server since `killed_at`. Its
    output goes to `log`; after the restart, to the same name with `.2` appended.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], url: str, log: Path) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self.url = url
        self.session = 0
        self.away_s = 0.0
        self.killed_at = math.inf
        self._back_at: float | None = None
        self._life = ExitStack()

    @property
    def is_away(self) -> bool:
        """Return whether clients may still not know that the server is back."""
        if self.killed_at == math.inf:
            return False
        return self._back_at is None or time.monotonic() < self._back_at + ASKS_AGAIN_S

    def __enter__(self) -> "RestartingServer":
        self._start(self._log)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._life.close()

    def die_and_rise(self) -> None:
        """Kill the server only: its engine's process must end by itself, as after any crash."""
        self.killed_at = time.monotonic()
        os.kill(self.session, signal.SIGKILL)
        time.sleep(3)
        self._life.close()
        self._start(self._log.with_name(f"{self._log.name}.2"))
        self._back_at = time.monotonic()
        self.away_s = self._back_at - self.killed_at

    def _start(self, log: Path) -> None:
        life = running(
            self._command,
            log=log,
            ready=lambda: answers(f"{self.url}/ready"),
            environment=self._environment,
            patience_s=START_S,
        )
        self.session = self._life.enter_context(life)
