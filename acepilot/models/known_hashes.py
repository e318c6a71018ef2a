"""Hashes of a model's files, remembered in ACEPILOT_HOME/cache/hashes so that a restart need not read them.

A file is read again unless its size, inode and change time (ctime) are those of the last full read. Programs
cannot set ctime: a write, a copy and a restored backup all change it. Of several writes through a memory map,
only the first to a page that is on the disk does; so a file is written to the disk before it is read.

Not noticed: writes through a memory map on file systems that do not change ctime then (tmpfs, some network
ones), writes past the file system (to the device, or on a server), and a clock that root has set back to the
very nanosecond.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from acepilot.errors import NotEnoughDisk
from acepilot.models.manifest import FilePart, model_files, sha256_of, write_atomically
from acepilot.settings import home

SETTLED_NS = 2_000_000_000
"""A hash is remembered only if the file changed longer ago than this before it was read: a later write in the
same tick of the file system's clock would not change ctime. Some network file systems count whole seconds."""


class SeenFile(FilePart):
    """A file as it was when all of it was read."""

    sha256: str
    size_bytes: int = Field(ge=0)
    inode: int
    changed_ns: int


class SeenFiles(FilePart):
    files: dict[str, SeenFile]


def known_hashes(model: Path, on_read: Callable[[int], None] = lambda _: None) -> dict[str, str]:
    """Return what `file_hashes` in manifest.py returns, reading only files that may have changed.

    `on_read` gets the bytes to read, before the first is read and only if there are any.
    """
    paths = {model.name: model} if model.is_file() else model_files(model)
    seen = _seen(model)
    stats = {name: path.stat() for name, path in paths.items()}
    changed = [name for name, stat in stats.items() if name not in seen or not _is_same(seen[name], stat)]
    if not changed:
        return {name: seen[name].sha256 for name in paths}
    on_read(sum(stats[name].st_size for name in changed))
    for name in changed:
        sync_to_disk(paths[name])
        stats[name] = paths[name].stat()
    found = {name: seen[name] for name in paths if name not in changed}
    hashes = {name: one.sha256 for name, one in found.items()}
    for name in changed:
        began_ns = time.time_ns()
        hashes[name] = sha256_of(paths[name])
        one = _as_seen(hashes[name], stats[name])
        is_settled = began_ns - one.changed_ns > SETTLED_NS
        if is_settled and _is_same(one, paths[name].stat()):
            found[name] = one
    _remember(model, found)
    return {name: hashes[name] for name in paths}


def sync_to_disk(path: Path) -> None:
    """Write the file's changed pages to its disk: then the next write through a memory map changes ctime."""
    with path.open("rb") as file, contextlib.suppress(OSError):  # some file systems cannot
        os.fsync(file.fileno())


def _as_seen(sha256: str, stat: os.stat_result) -> SeenFile:
    return SeenFile(sha256=sha256, size_bytes=stat.st_size, inode=stat.st_ino, changed_ns=stat.st_ctime_ns)


def _is_same(seen: SeenFile, stat: os.stat_result) -> bool:
    return seen == _as_seen(seen.sha256, stat)


def _seen(model: Path) -> Mapping[str, SeenFile]:
    """Return what is remembered of the model's files; nothing if the record is missing or damaged."""
    try:
        return SeenFiles.model_validate_json(_record(model).read_text(encoding="utf-8")).files
    except (OSError, ValidationError, UnicodeDecodeError):
        return {}


def _remember(model: Path, found: dict[str, SeenFile]) -> None:
    """Write the record, if the home can be written. Without it, the next start reads the files again."""
    record = _record(model)
    with contextlib.suppress(OSError, NotEnoughDisk):
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, SeenFiles(files=found).model_dump_json() + "\n")


def _record(model: Path) -> Path:
    key = hashlib.sha256(os.fsencode(model.resolve())).hexdigest()[:16]
    return home() / "cache" / "hashes" / f"{key}.json"
