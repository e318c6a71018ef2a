"""Raise NotEnoughDisk for a full disk: `check_room` before writing, `explain_full_disk` while writing."""

import errno
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import decimal

from acepilot.errors import AcepilotError, NotEnoughDisk

HOME_ADVICE = "free some space, or set ACEPILOT_HOME to a folder on a larger disk."

_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = (
    "No space left",  # the system's message, which tools, safetensors and pyarrow repeat
    "Disk quota exceeded",
    "disk is full",  # SQLite's words
    "StorageFull",  # Rust's name for it, in safetensors' errors
    "unexpected pos",  # torch.save notices only that its file is too short
    "PytorchStreamWriter failed",
    "iostream error",  # all that OpenVINO says when it cannot write
)


def is_full_disk(error: BaseException) -> bool:
    """Return True for a full disk or an exceeded quota, even if a library wraps the system's error."""
    return getattr(error, "errno", None) in _ERRNOS or says_full_disk(str(error))


def says_full_disk(text: str) -> bool:
    """Return True if an error message reports a full disk or an exceeded quota."""
    return any(words in text for words in _WORDS)


def check_room(place: Path, needed_bytes: int, what: str, advice: str) -> None:
    """Raise NotEnoughDisk unless the disk of `place` has `needed_bytes` free.

    The message begins with `what`, the thing that needs the space, and ends with `advice`.
    """
    free_bytes = _free_bytes(place)
    if free_bytes < needed_bytes:
        raise NotEnoughDisk(
            f"{what} needs {decimal(needed_bytes)} free on the disk of {place}, which has "
            f"{decimal(free_bytes)}: {advice}"
        )


@contextmanager
def explain_full_disk(place: Path, advice: str, *, unfinished: Path | None = None) -> Generator[None]:
    """Raise NotEnoughDisk for a full disk inside the block; every other error passes as it is.

    The message names `place`, the bytes free on its disk, and `advice`. The folder `unfinished` is removed
    then, because nothing would finish it.
    """
    try:
        yield
    except AcepilotError:
        raise
    except Exception as error:  # torch, safetensors and executors wrap the system's error
        if not is_full_disk(error):
            raise
        free_bytes = _free_bytes(place)
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
        raise NotEnoughDisk(f"The disk of {place} is full ({decimal(free_bytes)} free): {advice}") from error


def _free_bytes(place: Path) -> int:
    """Return the free bytes on the disk of `place`, which need not exist yet."""
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free
