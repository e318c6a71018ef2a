"""Detect which sandbox this machine allows, by trying it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from acepilot.errors import SandboxUnavailable
from eval_humaneval.execution.job import NOBODY
from eval_humaneval.execution.sandbox import (
    BUBBLEWRAP,
    LIMITS_ONLY,
    SYSTEM_PATH,
    WORKER_ENDED,
    Sandbox,
    SandboxLevel,
)
from eval_humaneval.languages.base import Limits

_FILTERED = "2"  # SECCOMP_MODE_FILTER, as /proc/PID/status has it
_INSTALL = "`apt-get install bubblewrap` (0.8 or newer; `dnf install bubblewrap` on Fedora)"
_SETTINGS = {
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0", "AppArmor denies bubblewrap user namespaces"),
    "kernel/unprivileged_userns_clone": ("0", "1", "the kernel allows user namespaces to root only"),
    "user/max_user_namespaces": ("0", "15000", "the kernel allows no user namespaces"),
}
"""Name below /proc/sys -> the value that denies user namespaces, the value that allows them, the meaning."""


def detect_sandbox(*, unsafe: bool = False, path: str = SYSTEM_PATH) -> SandboxLevel:
    """Return the strongest level that works here; `path` is where bubblewrap is looked up. Raise
    SandboxUnavailable when bubblewrap does not work, unless `unsafe` allows LIMITS_ONLY."""
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(
            "Programs are judged on Linux only: run the evaluation in a Linux container."
        )
    problem = _bubblewrap_problem(path)
    if not problem:
        return BUBBLEWRAP
    if unsafe:
        return LIMITS_ONLY
    raise SandboxUnavailable(
        f"No sandbox for the programs of a model: {problem}. docs/sandbox.md explains more. "
        f"`--unsafe` runs them under limits only. {LIMITS_ONLY.lacks}"
    )


def why_denied(message: str, setting: Callable[[str], str | None], *, in_container: bool) -> str:
    """Return why bubblewrap gets no user namespaces, and what to change. `message` is bubblewrap's own.
    `setting` reads a name below /proc/sys, None for one that does not exist."""
    for name, (denying, allowing, meaning) in _SETTINGS.items():
        if setting(name) == denying:
            return f"{meaning}; allow them with `sysctl -w {name.replace('/', '.')}={allowing}`"
    if in_container:
        return (
            "this container denies bubblewrap user namespaces; start it with `--security-opt "
            "seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined` "
            f"(bubblewrap: {message})"
        )
    return f"bubblewrap gets no user namespaces, by a rule of this machine; its message: {message}"


def _bubblewrap_problem(path: str) -> str:
    """Return why bubblewrap does not work here; an empty string if it does."""
    bwrap = shutil.which("bwrap", path=path)
    if bwrap is None:
        return f"bubblewrap is not installed; {_INSTALL}"
    options = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False).stdout
    if "--disable-userns" not in options:
        return f"{bwrap} is too old; {_INSTALL}"
    try:
        with Sandbox(BUBBLEWRAP, workers=1) as sandbox:
            ran = sandbox.run(("/usr/bin/grep", "Seccomp:", "/proc/self/status"), Limits(), {}, {})
    except SandboxUnavailable as error:
        return error.message
    if not ran.error and ran.exit_code == 0:
        return "" if ran.stdout.split()[-1] == _FILTERED else "the kernel filters no system calls"
    if WORKER_ENDED in ran.error:
        return (
            f"this root process cannot start a process as user {NOBODY} ({ran.error}); run the evaluation as "
            "another user"
        )
    container = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    message = ran.stderr.strip() or ran.error
    return why_denied(message, _read_setting, in_container=container)


def _read_setting(name: str) -> str | None:
    path = Path("/proc/sys", name)
    return path.read_text(encoding="ascii").strip() if path.exists() else None
