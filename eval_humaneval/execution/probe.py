"""Which sandbox this machine allows, found by trying it: start of a run -> this -> sandbox."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from acepilot.errors import SandboxUnavailable
from eval_humaneval.execution.sandbox import (
    BUBBLEWRAP,
    LIMITS_ONLY,
    SYSTEM_PATH,
    WORKER_ENDED,
    Sandbox,
    SandboxLevel,
)
from eval_humaneval.languages.base import Limits

_INSTALL = "`apt-get install bubblewrap` (0.8 or newer; `dnf install bubblewrap` on Fedora)"
_SETTINGS = {
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "0",
        "AppArmor keeps user namespaces from bubblewrap",
    ),
    "kernel/unprivileged_userns_clone": ("0", "1", "the kernel keeps user namespaces for root"),
    "user/max_user_namespaces": ("0", "15000", "the kernel allows no user namespaces"),
}
"""Below /proc/sys: the value that denies, the value that allows, and what it means."""


def probe(*, unsafe: bool = False) -> SandboxLevel:
    """The strongest level that works here. Raises SandboxUnavailable when that is not bubblewrap, unless
    `unsafe` allows programs to run under limits only."""
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(
            "Programs are judged on Linux only: run the evaluation in a container there."
        )
    problem = _bubblewrap_problem()
    if not problem:
        return BUBBLEWRAP
    if unsafe:
        return LIMITS_ONLY
    raise SandboxUnavailable(
        f"No sandbox for the programs of a model: {problem}. docs/sandbox.md has more. "
        f"`--unsafe` runs them under limits only. {LIMITS_ONLY.lacks}"
    )


def why_denied(said: str, setting: Callable[[str], str | None], *, in_container: bool) -> str:
    """A sentence on why bubblewrap, which `said` this, gets no namespaces, and what to change. `setting`
    reads a name below /proc/sys, None for one that is not there."""
    for name, (denying, allowing, meaning) in _SETTINGS.items():
        if setting(name) == denying:
            return f"{meaning}; allow them with `sysctl -w {name.replace('/', '.')}={allowing}`"
    if in_container:
        return (
            "this container keeps user namespaces from bubblewrap; start it with `--security-opt "
            "seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined` "
            f"(bubblewrap said: {said})"
        )
    return f"bubblewrap gets no user namespaces here, by a rule of this machine; it said: {said}"


def _bubblewrap_problem() -> str:
    bwrap = shutil.which("bwrap", path=SYSTEM_PATH)
    if bwrap is None:
        return f"bubblewrap is not installed; {_INSTALL}"
    options = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False).stdout
    if "--disable-userns" not in options:
        return f"{bwrap} is too old; {_INSTALL}"
    with Sandbox(BUBBLEWRAP, workers=1) as sandbox:
        ran = sandbox.run(("/usr/bin/true",), Limits(), {}, {})
    if not ran.error and ran.exit_code == 0:
        return ""
    if WORKER_ENDED in ran.error:
        return (
            f"this process cannot start one of the user that programs run as ({ran.error}); be no root here"
        )
    container = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    said = ran.stderr.strip() or ran.error
    return why_denied(said, _read_setting, in_container=container)


def _read_setting(name: str) -> str | None:
    path = Path("/proc/sys", name)
    return path.read_text(encoding="ascii").strip() if path.exists() else None
