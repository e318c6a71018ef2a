"""One program without a sandbox, under limits only: the named weaker level. Called by the worker."""

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

from eval_humaneval.execution.job import NOBODY, Job, Started, Streams

_STRAYS_S = 5.0


def start(job: Job, kept: Mapping[str, int], streams: Streams, stack: ExitStack) -> Started:
    """In a new folder, as another user where the worker is root. Orphans must come back to the worker (a
    sub-reaper), for they are ended here. Raises OSError when the command cannot be started."""
    folder = Path(tempfile.mkdtemp(prefix="acepilot-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    contents = {name: text.encode(errors="replace") for name, text in job.files.items()}
    contents |= {name: os.pread(kept[key], os.fstat(kept[key]).st_size, 0) for name, key in job.kept.items()}
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

    return Started(process, kill, _end_strays)


def _end_strays() -> str:
    """Kills what the program left running, generation after generation."""
    deadline = time.monotonic() + _STRAYS_S
    # Not psutil's `children`: it reads every process of the machine, which takes 3 ms after each program.
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while alive := [int(pid) for pid in children.read_text(encoding="ascii").split()]:
        if time.monotonic() > deadline:
            return f"{len(alive)} processes of a program would not end"
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return ""
