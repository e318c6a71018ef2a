"""The messages between the sandbox and its workers: a Job, and its JobResult, as JSON.

The worker's modules (worker, bubblewrap, limits_only and this one) import the standard library only: the
sandbox's user may not be allowed to read other packages.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO

WORK = "/tmp/work"  # noqa: S108 - inside the sandbox, where /tmp is the program's own
"""The folder of the program in bubblewrap."""

NOBODY = 65534
"""User and group id of the programs when the evaluation runs as root."""

CHUNK_BYTES = 1 << 16
"""Bytes of one read: the capacity of a pipe."""


@dataclass(frozen=True)
class Job:
    """A program to run. `wrapper` is bubblewrap with its arguments; without one, only limits apply. `files`
    maps names to contents, `stored` names to digests of contents that the worker has already; `seccomp` is
    the digest of bubblewrap's filter of system calls. `rlimits` are by their names in the module `resource`.
    With `reports_compiled`, the command writes to its standard input when it has compiled."""

    wrapper: Sequence[str]
    command: Sequence[str]
    files: Mapping[str, str]
    stored: Mapping[str, str]
    seccomp: str
    environment: Mapping[str, str]
    rlimits: Mapping[str, int]
    output_bytes: int
    wall_s: float
    reports_compiled: bool


@dataclass(frozen=True)
class JobResult:
    """The end of a job. `exit_code` is 128 plus the signal for a killed program. `stopped` is the limit for
    which the worker ended it, "wall" or "output", otherwise "". `cpu_s` is user and system time of the whole
    process tree, bubblewrap included, without processes that were still running at the end. `error` says why
    nothing could be run; it is "" otherwise."""

    exit_code: int
    stdout: str
    stderr: str
    compiled: bool
    stopped: str
    cpu_s: float
    wall_s: float
    error: str


@dataclass(frozen=True)
class Streams:
    """A program's file descriptors."""

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True)
class RunningProgram:
    """`kill` ends the program with its child processes. `close`, called after its end, cleans up and returns
    what went wrong with the sandbox, or ""."""

    process: subprocess.Popen[bytes]
    kill: Callable[[], None]
    close: Callable[[], str]


def open_pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """Return the reading and the writing end of a pipe; `stack` closes both."""
    reading, writing = os.pipe()
    return stack.enter_context(FileIO(reading)), stack.enter_context(FileIO(writing, "w"))


def memory_file(content: bytes) -> FileIO:
    """Return a new file in memory that holds `content`."""
    file = FileIO(os.memfd_create("acepilot"), "r+")
    file.write(content)
    return file


def read_now(descriptor: int) -> bytes:
    """Return the bytes that can be read without waiting."""
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        return os.read(descriptor, CHUNK_BYTES)
    return b""
