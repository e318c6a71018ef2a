"""Start programs in sessions of their own, which end with them.

psutil measures the CPU seconds and the memory of a whole session.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from acepilot.errors import AcepilotError

GRACE_S = 10.0
"""Seconds for a process group to end after SIGTERM, and again after SIGKILL."""


class PeerFailed(AcepilotError):
    """A program under measurement did not start, or ended by itself."""

    code = "peer_failed"


def answers(url: str) -> bool:
    """Return whether a GET is answered with 200 within 5 s."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    patience_s: float = 900.0,  # vLLM compiles at its first start
    grace_s: float = GRACE_S,
) -> Generator[int]:
    """Start `command`, wait until it is `ready`, and yield its session id. Raises PeerFailed.

    Its output goes to `log`, which the error names. This process's variables take precedence over
    `environment`. On leaving the context, the whole process group is ended.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**(environment or {}), **os.environ},
            start_new_session=True,
            close_fds=False,  # the program inherits inheritable locks, and holds them while it runs
        )
    try:
        deadline = time.monotonic() + patience_s
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                state = "takes too long to start" if process.poll() is None else "ended at once"
                raise PeerFailed(f"{Path(command[0]).name} {state}; its output is in {log}.")
            time.sleep(0.2)
        yield process.pid
    finally:
        end_group(process, grace_s)


def end_group(process: "subprocess.Popen[bytes]", grace_s: float = GRACE_S) -> None:
    """End the process and its group: by SIGTERM, and after `grace_s` by SIGKILL."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            if not _members(process.pid):
                process.wait()
                return
            time.sleep(0.05)


def cpu_seconds(session: int) -> float:
    """Return the user and system seconds of the living processes of `session` and of their ended children."""
    times = [member["cpu_times"] for member in _members(session)]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def memory_bytes(session: int) -> int:
    """Return the resident memory of the living processes of `session`. Shared memory counts once for each."""
    return sum(member["memory_info"].rss for member in _members(session))


def _members(session: int) -> list[dict[str, Any]]:
    """Return psutil's `as_dict` of each living process of the session."""
    found: list[dict[str, Any]] = []
    for pid in psutil.pids():
        # A process may end while it is looked at.
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(pid) == session:
                found.append(psutil.Process(pid).as_dict(["status", "cpu_times", "memory_info"]))
    return [member for member in found if member["status"] not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)]
