"""One program in bubblewrap: what it sees of the machine, and how it is started. Called by the worker."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from io import FileIO
from pathlib import Path

from eval_humaneval.execution.job import WORK, Job, Started, Streams, memory_file, open_pipe, read_now

_ISOLATION = (
    "--as-pid-1",
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    "--clearenv",
    *("--uid", "65534"),
    *("--gid", "65534"),
    *("--hostname", "sandbox"),
)
_ETC = ("ld.so.cache",)
_ETC_OF_TOOLCHAINS = ("alternatives", "java-*", "mono", "php")


@cache
def wrapper(bwrap: str, tmp_bytes: int, *, toolchain_etc: bool) -> tuple[str, ...]:
    """Bubblewrap with what every program sees: /usr, a few files of /etc, /proc, four devices, and a /tmp of
    its own that holds `tmp_bytes`. Each mount costs a tenth of a millisecond, so that /etc/alternatives and
    the settings of compilers and virtual machines come only with `toolchain_etc`."""
    devices = ("null", "zero", "urandom")
    return (
        bwrap,
        *_ISOLATION,
        *_system(),
        *_etc(_ETC + (_ETC_OF_TOOLCHAINS if toolchain_etc else ())),
        *("--proc", "/proc"),
        *(word for name in devices for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")),
        *("--symlink", "urandom", "/dev/random"),
        *("--symlink", "/proc/self/fd", "/dev/fd"),
        *("--symlink", "/tmp", "/dev/shm"),  # noqa: S108 - the sandbox's own
        *("--size", str(tmp_bytes)),
        *("--tmpfs", "/tmp"),  # noqa: S108 - the same
        *("--dir", WORK),
        *("--remount-ro", "/"),
        *("--chdir", WORK),
    )


def start(job: Job, kept: Mapping[str, int], streams: Streams, stack: ExitStack) -> Started:
    """Bubblewrap makes the program process 1 of its own namespace: the kernel ends all others with it, and
    only then does bubblewrap see it end. So nothing outlives the wait, and the CPU time of all processes is
    billed, but for those that had to be ended. While bubblewrap waits at a gate, the limits are set: inside,
    as elsewhere RLIMIT_NPROC counts over all sandboxes. Raises OSError when that cannot be done."""
    status, status_end = open_pipe(stack)
    gate_end, gate = open_pipe(stack)
    contents = {name: kept[digest] for name, digest in job.kept.items()}
    for name, text in job.files.items():
        contents[name] = stack.enter_context(memory_file(text.encode(errors="replace"))).fileno()
    arguments = ["--json-status-fd", str(status_end.fileno()), "--block-fd", str(gate_end.fileno())]
    for name, value in job.environment.items():
        arguments += ["--setenv", name, value]
    for name, content in contents.items():
        os.lseek(content, 0, os.SEEK_SET)
        arguments += ["--file", str(content), f"{WORK}/{name}"]
    process = subprocess.Popen(
        [*job.wrapper, *arguments, "--", *job.command],
        env={},
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        pass_fds=(status_end.fileno(), gate_end.fileno(), *contents.values()),
    )
    stack.enter_context(process)
    status_end.close()
    try:
        init = json.loads(_first_line(status))["child-pid"]
        handle = os.pidfd_open(init)
        stack.callback(os.close, handle)
        for name, limit in job.rlimits.items():
            resource.prlimit(init, getattr(resource, name), (limit, limit))
    except (ValueError, ProcessLookupError):
        # It failed on its own account, and its standard error says why.
        return Started(process, process.kill, lambda: "bubblewrap could not make a sandbox")
    except OSError:
        process.kill()
        raise
    gate.write(b"g")

    def kill() -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)

    def close() -> str:
        # An exit code is told only of a program that could be started.
        told = read_now(status.fileno())
        return "" if b"exit-code" in told else "bubblewrap could not start the program"

    return Started(process, kill, close)


def _system() -> Iterator[str]:
    """/usr, and the folders that lead into it; distributions that still keep them apart have them bound."""
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "lib", "lib32", "lib64"):
        folder = Path("/", name)
        if folder.is_symlink():
            yield from ("--symlink", str(folder.readlink()), str(folder))
        elif folder.is_dir():
            yield from ("--ro-bind", str(folder), str(folder))


def _etc(patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted(Path("/etc").glob(pattern)):
            yield from ("--ro-bind", str(path), str(path))


def _first_line(file: FileIO) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (chunk := file.read(1024)):
        line += chunk
    return line
