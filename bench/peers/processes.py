"""Programs that a benchmark starts: each in a session of its own, which ends with it, whatever happens.

psutil says what they have cost: CPU seconds and memory of a whole session.
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


class PeerFailed(AcepilotError):
    """A program under measurement did not start, or ended by itself."""

    code = "peer_failed"


def answers(url: str) -> bool:
    """Whether a GET is answered with 200 within 5 s."""
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
) -> Generator[int]:
    """Starts `command`, waits until it is `ready`, and yields its session's id. Raises PeerFailed.

    Its output goes to `log`, which the error names. `environment` gives way to this process's own. On
    leaving, the whole process group ends.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**(environment or {}), **os.environ},
            start_new_session=True,
            close_fds=False,  # a lock that was made inheritable is held as long as this runs
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
        end_group(process)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process and every member of its group: asked first, then killed."""
    for kind, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not _members(process.pid):
                process.wait()
                return
            time.sleep(0.05)


def cpu_seconds(session: int) -> float:
    """User and system time of all living processes of `session`, and of their children that have ended."""
    times = [member["cpu_times"] for member in _members(session)]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def memory_bytes(session: int) -> int:
    """Resident memory of all living processes of `session`; what two share counts twice."""
    return sum(member["memory_info"].rss for member in _members(session))


def _members(session: int) -> list[dict[str, Any]]:
    """What psutil's `as_dict` says of each living process of the session."""
    found: list[dict[str, Any]] = []
    for pid in psutil.pids():
        # A process may end while it is looked at.
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(pid) == session:
                found.append(psutil.Process(pid).as_dict(["status", "cpu_times", "memory_info"]))
    return [member for member in found if member["status"] not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)]
