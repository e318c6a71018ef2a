"""Compute figures from measurements, and describe the machine on which they were taken."""

import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.typing.editor import Pause
from bench.typing.replay import Replay

PACKAGES = ("openvino", "openvino-genai", "torch", "transformers", "numpy")


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which `share` (0 to 1) of all lie, interpolated; None for no values."""
    return float(np.quantile(values, share)) if values else None


def ghost_times(pauses: Sequence[Pause]) -> list[float]:
    """Return the seconds from pause to ghost text. A pause without an answer counts with the whole patience.

    A pause that was answered with nothing has no time: a stopwatch cannot tell whether that was right.
    """
    return [pause.waited_s for pause in pauses if pause.shown or not pause.answered]


def replay_figures(replay: Replay) -> dict[str, float | None]:
    """Return the figures of one contestant; times in milliseconds, shares from 0 to 1."""
    pauses, times = replay.pauses, ghost_times(replay.pauses)
    count = max(len(pauses), 1)
    p50, p95 = percentile(times, 0.5), percentile(times, 0.95)
    computed = replay.computed_tokens or None  # 0: this engine has no counter
    return {
        "p50_ms": None if p50 is None else p50 * 1000,
        "p95_ms": None if p95 is None else p95 * 1000,
        "answered": sum(pause.answered for pause in pauses) / count,
        "shown": sum(pause.shown for pause in pauses) / count,
        "in_time": sum(pause.in_time for pause in pauses) / count,
        "kept_chars": float(replay.kept_chars),
        "tokens_per_kept_char": computed / replay.kept_chars if computed and replay.kept_chars else None,
        "tokens_per_keystroke": computed / max(replay.keystrokes, 1) if computed else None,
        "cpu_s_per_1000_keys": replay.cpu_s * 1000 / max(replay.keystrokes, 1),
    }


def setting() -> dict[str, Any]:
    """Return the machine, the versions and the command of this run."""
    return {
        "command": shlex.join([*_program(), *sys.argv[1:]]),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "load_before": os.getloadavg()[0],
        "versions": {name: found for name in PACKAGES if (found := _installed(name))},
        "commit": own_commit(),
    }


def _program() -> list[str]:
    """Return the words that started this program: a script's path, or `python -m bench NAME`."""
    path = Path(sys.argv[0])
    return ["python", f"scripts/{path.name}"] if path.suffix == ".py" else shlex.split(sys.argv[0])


def own_commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def describe(setting: dict[str, Any]) -> str:
    """Return a few lines to print above a table."""
    versions = ", ".join(f"{name} {found}" for name, found in setting["versions"].items())
    busy = f" (load {setting['load_before']:.1f}: BUSY)" if setting["load_before"] > 0.5 else ""
    return (
        f"{setting['processor']}, {setting['cores']} cores, {setting['memory_gb']} GB{busy}, "
        f"{setting['system']}\nacepilot {setting['commit']}, {versions}\n{setting['command']}"
    )


def _processor() -> str:
    """Return the processor's name. Neither `platform` nor psutil has it on Linux."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def leave(number: int, frame: object) -> None:
    """Handle SIGTERM like Ctrl-C, so that servers are ended on the way out."""
    signal.raise_signal(signal.SIGINT)
