"""Limits of a worker process: time and memory to open a model, time to answer, pauses between restarts."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from acepilot.models.registry import ModelFolder
from server.engine.base import CPU_KV_CACHE_GB, EngineOptions

READ_BYTES_PER_S = 20_000_000
"""Bytes of a model's files a second that a slow network disk gives, to be added to `opening_s`."""

MEMORY_FACTOR = 16
"""Memory for opening, in sizes of the files: 4 bits become 32, and for a while both forms are in memory."""

LIBRARIES_BYTES = 8 * 10**9
"""Memory for opening besides the weights and the KV cache: libraries, and CUDA's context and buffers."""

MACHINE_SHARE = 0.9
"""Share of the machine's memory, or of the container's, at which opening is given up in any case."""


@dataclass(frozen=True)
class WorkerLimits:
    """Seconds, and bytes of memory.

    - `silent_s`: a worker that has not answered for so long is taken for hung. It answers between two steps.
      A worker whose `Opened.longest_step_s` is more has that long.
    - `opening_s`: for opening a model, besides the time to read its files.
    - `opening_bytes`: memory of the worker while it opens a model. None: as its files' size makes likely.
    - `first_pause_s` is the pause before a restart. It doubles, up to `longest_pause_s`, while workers do not
      last.
    """

    silent_s: float = 30.0
    opening_s: float = 900.0
    opening_bytes: int | None = None
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0


@dataclass(frozen=True)
class OpeningLimits:
    """The limits for opening one model."""

    seconds: float
    memory_bytes: int

    @staticmethod
    def of(model: ModelFolder, options: EngineOptions, limits: WorkerLimits) -> "OpeningLimits":
        size = _files_bytes(model.path)
        likely = MEMORY_FACTOR * size + (options.kv_cache_gb or CPU_KV_CACHE_GB) * 10**9 + LIBRARIES_BYTES
        allowed = likely if limits.opening_bytes is None else limits.opening_bytes
        return OpeningLimits(
            limits.opening_s + size / READ_BYTES_PER_S, min(allowed, int(_machine_bytes() * MACHINE_SHARE))
        )

    def exceeded(self, process: int, passed_s: float) -> str:
        """Return which limit the process has exceeded after `passed_s`, or an empty text."""
        if passed_s > self.seconds:
            return f"it is not open after {passed_s:.0f} s: the file may be damaged, or the disk too slow."
        if memory_bytes(process) > self.memory_bytes:
            return (
                f"opening it takes more than {self.memory_bytes / 1e9:.1f} GB of memory: the file may be "
                "damaged, or too large for this machine."
            )
        return ""


def memory_bytes(process: int) -> int:
    """Return the memory of a process, resident or swapped out; 0 where there is no /proc, or no process."""
    found = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(("VmRSS:", "VmSwap:")):
                found += int(line.split()[1]) * 1024
    return found


def _files_bytes(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _machine_bytes() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # not in a container, or without a limit: "max"
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total
