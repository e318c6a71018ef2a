"""What the sandbox asks its worker to run, and what it hears back; JSON in between.

The worker's side (worker, bubblewrap, limits_only, this file) imports the standard library only: the
sandbox's user may not be able to read more.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO

WORK = "/tmp/work"  # noqa: S108 - inside the sandbox, where /tmp is the program's own
"""Where a program runs in bubblewrap."""

NOBODY = 65534
"""The user and group of the programs where the harness is root."""

CHUNK_BYTES = 1 << 16
"""As much as a pipe holds."""


@dataclass(frozen=True)
class Job:
    """`wrapper` is bubblewrap and its arguments; empty: limits only, and no sandbox. `files` are contents by
    name; `kept` names the digests of contents that were sent before. `rlimits` are by the names of the module
    `resource`. With `tells_compiled` the command writes to its standard input when it has compiled."""

    wrapper: Sequence[str]
    command: Sequence[str]
    files: Mapping[str, str]
    kept: Mapping[str, str]
    environment: Mapping[str, str]
    rlimits: Mapping[str, int]
    output_bytes: int
    wall_s: float
    tells_compiled: bool


@dataclass(frozen=True)
class Ran:
    """What became of a job. `exit_code` is 128 and the signal for a killed program. `stopped`: "", "wall" or
    "output", the limit that the worker held. `cpu_s`: user and system time of the whole tree, bubblewrap
    included, processes left running at the end not. `error`: why nothing could be run; "" is the rule."""

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
    """File descriptors for a program to start with."""

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True)
class Started:
    """A running program. `kill` ends it and what belongs to it; `close`, once it has ended, sees to the rest
    and tells what went wrong with the sandbox."""

    process: subprocess.Popen[bytes]
    kill: Callable[[], None]
    close: Callable[[], str]


def open_pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """Its reading and its writing end, closed with `stack` at the latest."""
    reading, writing = os.pipe()
    return stack.enter_context(FileIO(reading)), stack.enter_context(FileIO(writing, "w"))


def memory_file(content: bytes) -> FileIO:
    """A file that is on no disk."""
    file = FileIO(os.memfd_create("acepilot"), "r+")
    file.write(content)
    return file


def read_now(descriptor: int) -> bytes:
    """What is there without waiting."""
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        return os.read(descriptor, CHUNK_BYTES)
    return b""
