"""The folder of one run: it holds the samples of one model and one configuration, and has one writer."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from acepilot.errors import ConfigError
from acepilot.models.manifest import write_atomically

INPUTS_FILE = "asked.json"


@contextmanager
def locked(folder: Path, inputs: dict[str, Any]) -> Generator[None]:
    """Create `folder` and lock it. `inputs` is everything that the samples in it depend on. Raise ConfigError
    if another run writes there, if its samples were made from other inputs, or if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): name another folder with --to, or set "
            "ACEPILOT_HOME to a folder that can."
        ) from error
    with lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"Another run is writing to {folder}: wait until it ends, or name another folder with --to."
            ) from error
        _check_inputs(folder / INPUTS_FILE, folder, inputs)
        yield


def _check_inputs(file: Path, folder: Path, inputs: dict[str, Any]) -> None:
    """Write `inputs` into a new folder; check them in an old one: samples of two models must not mix."""
    if not file.is_file():
        write_atomically(file, json.dumps(inputs, indent=2) + "\n")
        return
    try:
        before: Any = json.loads(file.read_text(encoding="utf-8"))
        unequal = [name for name in inputs if inputs[name] != before.get(name)]
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{file} is damaged: name another folder with --to, or remove {folder}.") from error
    if unequal:
        raise ConfigError(
            f"{folder} holds another run ({', '.join(unequal)} differ): name another folder with --to, or "
            "remove it."
        )
