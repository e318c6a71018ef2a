"""Start one program in bubblewrap; the worker calls this."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from eval_humaneval.execution.job import WORK, Job, RunningProgram, Streams, memory_file, open_pipe, read_now

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
    """Return bubblewrap with the mounts of every program: /usr, a few files of /etc, /proc, four devices, and
    a private /tmp that holds `tmp_bytes`. Each mount takes 0.1 ms. Therefore /etc/alternatives and the
    settings of compilers and virtual machines are mounted only with `toolchain_etc`.

    /proc can only be read: a program could exempt itself there from being ended first when memory runs out.
    Its lists of keys are empty, because keyrings belong to no namespace."""
    devices = ("null", "zero", "urandom")
    return (
        bwrap,
        *_ISOLATION,
        *_system(),
        *_etc(_ETC + (_ETC_OF_TOOLCHAINS if toolchain_etc else ())),
        *("--proc", "/proc"),
        *(word for name in ("keys", "key-users") for word in ("--ro-bind-try", "/dev/null", f"/proc/{name}")),
        *("--remount-ro", "/proc"),
        *(word for name in devices for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")),
        *("--symlink", "urandom", "/dev/random"),
        *("--symlink", "/proc/self/fd", "/dev/fd"),
        *("--symlink", "/tmp", "/dev/shm"),  # noqa: S108 - inside the sandbox
        *("--size", str(tmp_bytes)),
        *("--tmpfs", "/tmp"),  # noqa: S108 - inside the sandbox
        *("--dir", WORK),
        *("--remount-ro", "/"),
        *("--chdir", WORK),
    )


def start(job: Job, stored: Mapping[str, int], streams: Streams, stack: ExitStack) -> RunningProgram:
    """Start `job` in a sandbox of its own. Raise OSError when that is not possible. The program is process
    1 of its namespace. When it ends, the kernel kills the others before bubblewrap ends: no process outlives
    the wait, and the CPU time of every process that ended by itself counts. Bubblewrap waits (`--block-fd`)
    until the limits are set on the process inside the namespace: outside, RLIMIT_NPROC would count the
    processes of all sandboxes together."""
    status, status_end = open_pipe(stack)
    unblock_end, unblock = open_pipe(stack)
    seccomp = stored[job.seccomp]
    os.lseek(seccomp, 0, os.SEEK_SET)
    contents = {name: stored[digest] for name, digest in job.stored.items()}
    for name, text in job.files.items():
        contents[name] = stack.enter_context(memory_file(text.encode(errors="replace"))).fileno()
    arguments = ["--json-status-fd", str(status_end.fileno()), "--block-fd", str(unblock_end.fileno())]
    arguments += ["--seccomp", str(seccomp)]
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
        pass_fds=(status_end.fileno(), unblock_end.fileno(), seccomp, *contents.values()),
    )
    stack.enter_context(process)
    status_end.close()
    try:
        init = json.loads(status.readline())["child-pid"]
        handle = os.pidfd_open(init)
        stack.callback(os.close, handle)
        for name, limit in job.rlimits.items():
            resource.prlimit(init, getattr(resource, name), (limit, limit))
    except (ValueError, ProcessLookupError):
        # Bubblewrap itself failed; its standard error says why.
        return RunningProgram(process, process.kill, lambda: "bubblewrap could not make a sandbox")
    except OSError:
        process.kill()
        raise
    unblock.write(b"1")

    def kill() -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)

    def close() -> str:
        # Bubblewrap reports an exit code only for a program that it could start.
        report = read_now(status.fileno())
        return "" if b"exit-code" in report else "bubblewrap could not start the program"

    return RunningProgram(process, kill, close)


def _system() -> Iterator[str]:
    """Yield /usr, and /bin and /lib: as links into /usr, or as mounts where they are folders."""
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
