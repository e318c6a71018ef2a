"""Which code made a result: what manifests, results and gate reports carry."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """The commit of this code, with `+` when files differ from it; None outside a git checkout."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()
