"""The sandbox: a pool of worker processes that run programs. docs/sandbox.md describes its levels."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing import Pipe
from pathlib import Path
from queue import LifoQueue

from eval_humaneval.execution.bubblewrap import wrapper
from eval_humaneval.execution.job import NOBODY, Job, JobResult
from eval_humaneval.execution.system_calls import denying_filter
from eval_humaneval.languages.base import Limits

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
"""PATH of programs, tools and bubblewrap. The user's own PATH may lead to private folders."""

WALL_FACTOR = 3
"""Wall time limit / CPU time limit: a program may also wait for busy cores, or sleep."""

WORKER_ENDED = "the sandbox's worker ended"
_OPEN_FILES = 512  # per process (RLIMIT_NOFILE)
_ROOT = Path(__file__).parents[2]
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from eval_humaneval.execution.worker import main; main()"
)


@dataclass(frozen=True)
class SandboxLevel:
    """`name` enters the results; the gate compares equal names only. `lacks`: what it does not prevent."""

    name: str
    lacks: str


BUBBLEWRAP = SandboxLevel("bubblewrap+seccomp", "")
LIMITS_ONLY = SandboxLevel(
    "limits-only",
    "A program can then read every file that its user may read, reach the network, see and signal other "
    "processes of its user, and leave files behind.",
)


@dataclass(frozen=True)
class Content:
    """A file that is placed beside programs, or bubblewrap's filter; a worker receives it once."""

    data: bytes

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class WorkerClient:
    """Starts a worker process (worker.py) at once, and sends it jobs. `user` is the user id that the worker
    takes; None keeps the current one."""

    def __init__(self, user: int | None) -> None:
        self._connection, theirs = Pipe()
        self._sent: set[str] = set()
        with theirs:
            words = [str(_ROOT), str(theirs.fileno()), *([] if user is None else [str(user)])]
            self._process = subprocess.Popen(
                # Isolated and without site-packages, which its user may not be allowed to read.
                [sys.executable, "-I", "-S", "-c", _START, *words],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                # Ctrl-C reaches the evaluation only, which then closes its workers.
                start_new_session=True,
            )

    def run(self, job: Job, contents: Iterable[Content]) -> JobResult:
        """Run `job` with `contents` beside it. Raise EOFError or OSError when the worker has ended."""
        for content in contents:
            if content.digest not in self._sent:
                self._connection.send_bytes(json.dumps({"store": content.digest}).encode())
                self._connection.send_bytes(content.data)
                self._sent.add(content.digest)
        self._connection.send_bytes(json.dumps(asdict(job)).encode())
        return JobResult(**json.loads(self._connection.recv_bytes()))

    def close(self) -> str:
        """End the worker; return the last line of its standard error."""
        self._connection.close()
        with self._process:
            stderr: str = self._process.communicate()[1].decode(errors="replace")
        return stderr.strip().rpartition("\n")[2]


class Sandbox:
    """A context that runs up to `workers` programs at once (default: one per core). Thread-safe.

    Raises SandboxUnavailable when `level` needs what this machine lacks."""

    def __init__(self, level: SandboxLevel, workers: int | None = None) -> None:
        self.level = level
        self.workers = workers or len(os.sched_getaffinity(0))
        self._idle: LifoQueue[WorkerClient | None] = LifoQueue()
        self._contents: dict[Path, Content] = {}
        self._seccomp = Content(denying_filter()) if level == BUBBLEWRAP else None
        for _ in range(self.workers):
            self._idle.put(None)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, after their current programs."""
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
        reports_compiled: bool = False,
        toolchain_etc: bool = False,
    ) -> JobResult:
        """Run `command` in a free worker, in a folder with `files`: texts, or paths to copy. Return when all
        its processes have ended. If the worker dies, a new one tries the command once more."""
        stored = {name: self.content(path) for name, path in files.items() if isinstance(path, Path)}
        bwrap = shutil.which("bwrap", path=SYSTEM_PATH) or "bwrap"
        in_bubblewrap = self.level == BUBBLEWRAP
        mounts = wrapper(bwrap, limits.file_mb << 20, toolchain_etc=toolchain_etc) if in_bubblewrap else ()
        job = Job(
            wrapper=mounts,
            command=command,
            files={name: text for name, text in files.items() if isinstance(text, str)},
            stored={name: content.digest for name, content in stored.items()},
            seccomp=self._seccomp.digest if self._seccomp else "",
            environment={"PATH": SYSTEM_PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **environment},  # noqa: S108
            rlimits=self._rlimits(limits),
            output_bytes=limits.output_bytes,
            wall_s=limits.cpu_s * WALL_FACTOR,
            reports_compiled=reports_compiled,
        )
        # Workers without a sandbox stay root: programs must not signal them.
        user = NOBODY if in_bubblewrap and os.geteuid() == 0 else None
        contents = [*stored.values(), *([self._seccomp] if self._seccomp else [])]
        worker, reason = self._idle.get(), ""
        try:
            for _ in range(2):
                worker = worker or WorkerClient(user)
                try:
                    return worker.run(job, contents)
                except (EOFError, OSError):
                    reason = worker.close()
                    worker = None
        finally:
            self._idle.put(worker)
        return JobResult(-1, "", "", False, "", 0.0, 0.0, f"{WORKER_ENDED}: {reason}")

    def content(self, path: Path) -> Content:
        """Return the content of the file `path`, which is read once. Raise OSError."""
        if path not in self._contents:
            self._contents[path] = Content(path.read_bytes())
        return self._contents[path]

    def _rlimits(self, limits: Limits) -> dict[str, int]:
        processes = limits.processes
        if self.level != BUBBLEWRAP:
            # The kernel counts all processes of the user together.
            processes = processes * self.workers + _tasks_of(os.geteuid() or NOBODY)
        wanted = {
            "RLIMIT_CPU": limits.cpu_s,
            "RLIMIT_NPROC": processes,
            "RLIMIT_FSIZE": limits.file_mb << 20,
            "RLIMIT_NOFILE": _OPEN_FILES,
            "RLIMIT_CORE": 1,  # with 0, a core_pattern that begins with `|` still starts its helper outside
        }
        if limits.address_space_mb:
            wanted["RLIMIT_AS"] = limits.address_space_mb << 20
        return {name: _within_own_limit(name, value) for name, value in wanted.items()}


def _within_own_limit(name: str, value: int) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _tasks_of(user: int) -> int:
    """Return the number of threads of `user`, which the kernel counts against RLIMIT_NPROC."""
    tasks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == user:
                tasks += len(list((process / "task").iterdir()))
    return tasks
