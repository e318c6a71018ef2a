"""Programs under measurement: they end with all their children, and their cost is measured."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.peers.processes import PeerFailed, cpu_seconds, memory_bytes, running

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time\\nsignal.signal(15, signal.SIG_IGN)\\n"
                          "print('ready', flush=True)\\nwhile True: sum(range(1000))"])
print(child.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Return whether the process runs. A zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_family_and_leave(log: Path, children: list[int]) -> None:
    command = [sys.executable, "-c", FAMILY]
    with running(command, log=log, ready=lambda: "ready" in log.read_text(), grace_s=0.5) as session:
        children.append(int(log.read_text().split()[0]))
        time.sleep(0.3)
        assert 0 < cpu_seconds(session) < 60
        assert 2_000_000 < memory_bytes(session) < 2_000_000_000
        assert alive(children[0])
        raise KeyboardInterrupt


def test_children_that_ignore_sigterm_are_killed(tmp_path: Path) -> None:
    children: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        start_family_and_leave(tmp_path / "log", children)
    deadline = time.monotonic() + 5
    while alive(children[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(children[0])


def start(code: str, log: Path) -> None:
    with running([sys.executable, "-c", code], log=log, ready=lambda: False, patience_s=2):
        raise AssertionError("it is never ready")


def test_the_error_of_a_program_that_does_not_start_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(PeerFailed, match=r"(ended at once|too long).*peer\.log"):
        start("raise SystemExit('no')", tmp_path / "peer.log")


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(PeerFailed, match="too long"):
        start("import os, time; print(os.getpid(), flush=True); time.sleep(600)", log)
    assert not alive(int(log.read_text()))
