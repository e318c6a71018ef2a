"""Start one program without a sandbox, under resource limits only (`--unsafe`); the worker calls this."""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from eval_humaneval.execution.job import NOBODY, Job, RunningProgram, Streams

_KILL_S = 5.0  # for killing leftover processes; a program that forks faster is reported


def start(job: Job, stored: Mapping[str, int], streams: Streams, stack: ExitStack) -> RunningProgram:
    """Start `job` in a new folder, as NOBODY if the worker is root. Raise OSError when that is not possible.
    The worker must be a subreaper: orphaned processes become its children, and closing kills them."""
    folder = Path(tempfile.mkdtemp(prefix="acepilot-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    contents = {name: text.encode(errors="replace") for name, text in job.files.items()}
    contents |= {
        name: os.pread(stored[key], os.fstat(stored[key]).st_size, 0) for name, key in job.stored.items()
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    user = NOBODY if os.geteuid() == 0 else None
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)

    def limit() -> None:
        for name, value in job.rlimits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    process = subprocess.Popen(
        job.command,
        env={**job.environment, "HOME": str(folder), "TMPDIR": str(folder)},
        cwd=folder,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        start_new_session=True,
        preexec_fn=limit,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    stack.enter_context(process)

    def kill() -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    return RunningProgram(process, kill, _kill_leftovers)


def _kill_leftovers() -> str:
    """Kill the processes that the program left running, and the children that this leaves to the worker."""
    deadline = time.monotonic() + _KILL_S
    # psutil's `children` would read every process of the machine: 3 ms for each program.
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while alive := [int(pid) for pid in children.read_text(encoding="ascii").split()]:
        if time.monotonic() > deadline:
            return f"{len(alive)} processes of a program would not end"
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return ""
