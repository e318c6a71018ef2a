"""A server that is killed and comes back on its port, for soak.py."""

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
"""Language servers look after a server that was away every 10 s."""


class RestartingServer:
    """`session` is the running server's; `away_s`: how long it was away since `killed_at`.

    Its output goes to `log`, and after its death to the same name with `.2` behind it. Raises PeerFailed.
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
        """It was killed, and clients cannot all know yet that it is back."""
        if self.killed_at == math.inf:
            return False
        return self._back_at is None or time.monotonic() < self._back_at + ASKS_AGAIN_S

    def __enter__(self) -> "RestartingServer":
        self._start(self._log)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._life.close()

    def die_and_rise(self) -> None:
        """Kills the server alone; its engine's process can end by itself, as after any crash."""
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
