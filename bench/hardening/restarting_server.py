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
"""Seconds for the server to start."""
RECONNECT_S = 12.0
"""Longest time in seconds between two attempts of a language server to reach a server that was down."""


class RestartingServer:
    """A server that can be killed and started again. Raises PeerFailed.

    `session` is the running server's session id. `killed_at` is the time of the kill, and `down_s` the
    seconds from then until the server was back. Its output goes to `log`, and after the restart to the same
    name with `.2` appended.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], url: str, log: Path) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self.url = url
        self.session = 0
        self.down_s = 0.0
        self.killed_at = math.inf
        self._back_at: float | None = None
        self._processes = ExitStack()

    @property
    def is_down(self) -> bool:
        """Return True while the server is down, and while clients may not have noticed that it is back."""
        if self.killed_at == math.inf:
            return False
        return self._back_at is None or time.monotonic() < self._back_at + RECONNECT_S

    def __enter__(self) -> "RestartingServer":
        self._start(self._log)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._processes.close()

    def kill_and_restart(self) -> None:
        """Kill the server only: its engine's process must end by itself, as after any crash."""
        self.killed_at = time.monotonic()
        os.kill(self.session, signal.SIGKILL)
        time.sleep(3)
        self._processes.close()
        self._start(self._log.with_name(f"{self._log.name}.2"))
        self._back_at = time.monotonic()
        self.down_s = self._back_at - self.killed_at

    def _start(self, log: Path) -> None:
        process = running(
            self._command,
            log=log,
            ready=lambda: answers(f"{self.url}/ready"),
            environment=self._environment,
            patience_s=START_S,
        )
        self.session = self._processes.enter_context(process)
