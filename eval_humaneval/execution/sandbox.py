"""Where programs run: judge -> this pool of workers -> worker -> bubblewrap -> the program.

docs/sandbox.md says what each level holds and what it does not.
"""

import hashlib
import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import LifoQueue

from eval_humaneval.execution.bubblewrap import wrapper
from eval_humaneval.execution.job import NOBODY, Job, Ran
from eval_humaneval.execution.worker_client import Content, WorkerClient
from eval_humaneval.languages.base import Limits

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where programs, tools and bubblewrap are looked for; the user's own PATH may lead to private files."""

WALL_FACTOR = 3
"""A program may take this many times its CPU limit, waiting for busy cores or asleep."""

WORKER_ENDED = "the sandbox's worker ended"
_OPEN_FILES = 512


@dataclass(frozen=True)
class SandboxLevel:
    """`name` stands in the results, and only equal names are compared. `lacks`: what it does not hold."""

    name: str
    lacks: str


BUBBLEWRAP = SandboxLevel("bubblewrap", "")
LIMITS_ONLY = SandboxLevel(
    "limits-only",
    "A program reads every file that its user may read, reaches the network, sees and signals other "
    "processes of its user, and may leave files behind.",
)


class Sandbox:
    """Runs programs, by default as many at once as there are cores to use. Thread-safe; to be closed."""

    def __init__(self, level: SandboxLevel, workers: int | None = None) -> None:
        self.level = level
        self.workers = workers or len(os.sched_getaffinity(0))
        self._idle: LifoQueue[WorkerClient | None] = LifoQueue()
        self._contents: dict[Path, Content] = {}
        for _ in range(self.workers):
            self._idle.put(None)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; waits for those at work."""
        for worker in [self._idle.get() for _ in range(self.workers)]:
            if worker:
                worker.close()
            self._idle.put(None)

    def run(
        self,
        command: Sequence[str],
        limits: Limits,
        files: Mapping[str, str | Path],
        environment: Mapping[str, str],
        *,
        tells_compiled: bool = False,
        toolchain_etc: bool = False,
    ) -> Ran:
        """Waits for a free worker, runs `command` beside `files` (texts, or paths to read from) and returns
        when all its processes are gone. A worker that dies is replaced, and the command tried once more."""
        kept = {name: self.content(path) for name, path in files.items() if isinstance(path, Path)}
        job = Job(
            wrapper=self._wrapper(limits, toolchain_etc=toolchain_etc),
            command=command,
            files={name: text for name, text in files.items() if isinstance(text, str)},
            kept={name: content.digest for name, content in kept.items()},
            environment={"PATH": SYSTEM_PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **environment},  # noqa: S108
            rlimits=self._rlimits(limits),
            output_bytes=limits.output_bytes,
            wall_s=limits.cpu_s * WALL_FACTOR,
            tells_compiled=tells_compiled,
        )
        worker, reason = self._idle.get(), ""
        try:
            for _ in range(2):
                worker = worker or WorkerClient(self._user())
                try:
                    return worker.run(job, kept.values())
                except (EOFError, OSError):
                    reason = worker.close()
                    worker = None
        finally:
            self._idle.put(worker)
        return Ran(-1, "", "", False, "", 0.0, 0.0, f"{WORKER_ENDED}: {reason}")

    def content(self, path: Path) -> Content:
        """Of a file beside programs; it is read once. Raises OSError."""
        if path not in self._contents:
            data = path.read_bytes()
            self._contents[path] = Content(hashlib.sha256(data).hexdigest(), data)
        return self._contents[path]

    def _user(self) -> int | None:
        """Whom a worker becomes; without a sandbox it stays root, so that programs cannot signal it."""
        return NOBODY if self.level == BUBBLEWRAP and os.geteuid() == 0 else None

    def _wrapper(self, limits: Limits, *, toolchain_etc: bool) -> Sequence[str]:
        if self.level != BUBBLEWRAP:
            return ()
        bwrap = shutil.which("bwrap", path=SYSTEM_PATH)
        return wrapper(bwrap or "bwrap", limits.file_mb << 20, toolchain_etc=toolchain_etc)

    def _rlimits(self, limits: Limits) -> dict[str, int]:
        processes = limits.processes
        if self.level != BUBBLEWRAP:
            # The kernel counts all processes of the user, wherever they run.
            processes = processes * self.workers + _tasks_of(os.geteuid() or NOBODY)
        wanted = {
            "RLIMIT_CPU": limits.cpu_s,
            "RLIMIT_NPROC": processes,
            "RLIMIT_FSIZE": limits.file_mb << 20,
            "RLIMIT_NOFILE": _OPEN_FILES,
            "RLIMIT_CORE": 0,
        }
        if limits.address_space_mb:
            wanted["RLIMIT_AS"] = limits.address_space_mb << 20
        return {name: _at_most_ours(name, value) for name, value in wanted.items()}


def _at_most_ours(name: str, value: int) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _tasks_of(user: int) -> int:
    """Threads of all processes of `user`, as the kernel counts them against RLIMIT_NPROC."""
    tasks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == user:
                tasks += len(list((process / "task").iterdir()))
    return tasks
