"""The folder of one run, between `run` and `ask`: whose samples it holds, and one writer at a time."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from acepilot.errors import ConfigError
from acepilot.models.manifest import write_atomically

ASKED_FILE = "asked.json"


@contextmanager
def held(folder: Path, asked: dict[str, Any]) -> Generator[None]:
    """Makes `folder`, and holds it against other runs. `asked` is all that its samples depend on.

    Raises ConfigError when another run is writing there, when its samples are those of another model or of
    other settings, and when it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): name another folder with --to, or set "
            "ACEPILOT_HOME to one that can."
        ) from error
    with lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"Another run is writing to {folder}: wait for it, or name another with --to."
            ) from error
        _claim(folder / ASKED_FILE, folder, asked)
        yield


def _claim(file: Path, folder: Path, asked: dict[str, Any]) -> None:
    """Samples of two models in one folder would be taken for those of one."""
    if not file.is_file():
        write_atomically(file, json.dumps(asked, indent=2) + "\n")
        return
    try:
        before: Any = json.loads(file.read_text(encoding="utf-8"))
        unequal = [name for name in asked if asked[name] != before.get(name)]
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{file} is damaged: name another folder with --to, or remove {folder}.") from error
    if unequal:
        raise ConfigError(
            f"{folder} holds another run ({', '.join(unequal)} differ): name another folder with --to, or "
            "remove it."
        )
