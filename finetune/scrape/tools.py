"""Run git, npm and pip for one source: without a prompt, and within limits of time and size."""

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import IO

from acepilot.disk import says_full_disk
from acepilot.errors import DownloadFailed
from finetune.scrape.source_files import MAX_SOURCE_BYTES, files_below
from finetune.scrape.unreadable import printable

TIMEOUT_S = 1_200  # for one command; a large repository takes some minutes
_LOOK_EVERY_S = 0.2
_OUTPUT_BYTES = 100_000_000  # of a tool's output; npm lists all files of a package, 300 bytes for each
_ERROR_BYTES = 100_000  # of the end of its standard error
_MEMORY_BYTES = 4_000_000_000  # of each process of a tool; git needs some for a large repository
# RLIMIT_DATA and not RLIMIT_AS: node reserves address space, and git maps its packs.
_LIMITED = f'ulimit -d {_MEMORY_BYTES // 1024} || :; exec "$@"'


def run_tool(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a tool that writes into `folder`, and return its output.

    Raises DownloadFailed when it fails, or exceeds the limits of time or of bytes in `folder`, and OSError
    when it says that the disk is full.
    """
    with TemporaryFile() as output, TemporaryFile() as errors:
        with started(command, environment, output, errors) as process:
            deadline = time.monotonic() + TIMEOUT_S
            while not _ended(process):
                if time.monotonic() > deadline:
                    raise DownloadFailed(_too_slow(command[0]))
                written = sum(os.fstat(file.fileno()).st_size for file in (output, errors))
                if written + _bytes_below(folder) > MAX_SOURCE_BYTES:
                    raise DownloadFailed(f"`{command[0]}` fetched more than {MAX_SOURCE_BYTES / 1e9:.0f} GB")
        if process.returncode != 0:
            raise DownloadFailed(f"{command[0]} says: {complaint(errors)}")
        output.seek(0)
        text = output.read(_OUTPUT_BYTES + 1)
        if len(text) > _OUTPUT_BYTES:
            raise DownloadFailed(f"`{command[0]}` printed more than {_OUTPUT_BYTES / 1e6:.0f} MB")
        return text.decode("utf-8", "replace")


@contextmanager
def started(
    command: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes] | int,
    errors: IO[bytes],
    given: int = subprocess.DEVNULL,
) -> Generator[subprocess.Popen[bytes]]:
    """Start a tool in a session of its own, so that it can ask nobody, and end it with all its children."""
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise DownloadFailed(f"this needs `{command[0]}`, which is not installed: install it.")
    process = subprocess.Popen(
        ["/bin/sh", "-c", _LIMITED, "sh", program, *command[1:]], stdin=given, stdout=output, stderr=errors,
        start_new_session=True, env={**environment, "SSH_ASKPASS_REQUIRE": "never"},
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            _kill(process)


@contextmanager
def time_limit(process: subprocess.Popen[bytes], tool: str) -> Generator[None]:
    """End a process whose output is being read after TIMEOUT_S. Raises DownloadFailed then."""
    expired: list[bool] = []

    def expire() -> None:
        expired.append(True)
        _kill(process)

    timer = Timer(TIMEOUT_S, expire)
    timer.start()
    try:
        yield
    except (EOFError, OSError):
        if not expired:
            raise
    finally:
        timer.cancel()
    if expired:
        raise DownloadFailed(_too_slow(tool))


def complaint(errors: IO[bytes]) -> str:
    """Return the last lines of a tool's standard error. Raises OSError when they report a full disk here."""
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _ERROR_BYTES))
    text = errors.read().decode("utf-8", "replace")
    lines = [printable(line) for line in text.replace("\r", "\n").split("\n") if line.strip()]
    ours = [line for line in lines if not line.startswith("remote:")]  # a server can send what it likes
    if any(says_full_disk(line) for line in ours):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    shown = [line for line in lines if "npm warn" not in line.lower()]
    return " / ".join(shown[-3:])[:400] or "nothing"


def _ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_LOOK_EVERY_S)
    return process.returncode is not None


def _bytes_below(folder: Path) -> int:
    size = 0
    for name in files_below(folder):
        with suppress(OSError):  # the tool has removed it meanwhile
            size += (folder / name).lstat().st_size
    return size


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _too_slow(tool: str) -> str:
    return f"`{tool}` took more than {TIMEOUT_S // 60} minutes. Check the network."
