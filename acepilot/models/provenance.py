"""The commit of this code, which manifests, results and gate reports record."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """Return the commit of this code, with `+` if files differ from it; None outside a git checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
