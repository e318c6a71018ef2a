"""Keep the files of one source: every fetcher writes through `SourceFiles`, which refuses and counts.

A name that leaves the folder, a file that is too large or that cannot be read is left out and named. A source
whose sum exceeds the limits is refused as a whole: a small archive or repository can unpack to terabytes.
"""

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from acepilot.errors import DownloadFailed
from finetune.scrape.unreadable import UNREADABLE, printable, why_unreadable

MAX_FILE_BYTES = 5_000_000
"""Larger files are left out. No source file that a person wrote is near this size."""
MAX_SOURCE_BYTES = 4_000_000_000  # of all files together; Linux has 1.4 GB, Chromium's code less than 4 GB
MAX_SOURCE_FILES = 500_000  # Chromium has about 450,000
MAX_DEPTH = 100  # folders above a file; Python's own functions for trees recurse
MAX_NAME_BYTES = 1_000  # of a path inside its source: with the folder before it, Linux allows 4,096
MAX_NAMES_BYTES = 100_000_000
"""Of all paths together, which are held in memory; Chromium has about 35 MB."""
_SHOWN_CHARS = 100  # of a left-out name that a message shows
_NAMED = 3  # left-out files that a message names; the others are only counted
_TOO_LONG = "its path is too long"


class SourceFiles:
    """The files kept in the folder `target`, which is empty at first, and those left out.

    `files` and `size_bytes` are what is kept; `left_out` has a description of each file that is not.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.files = 0
        self.size_bytes = 0
        self._names_bytes = 0
        self.left_out: list[str] = []

    def add(self, name: str, size: int, read: Callable[[], bytes]) -> bytes | None:
        """Write the file `name` of `size` bytes; return its content, or None for a file that is left out.

        `read` is called only if the file is to be kept. Raises OSError when the disk is full, and
        DownloadFailed when the source has too many files or bytes.
        """
        reason = bad_name(name) or ("over 5 MB" if size > MAX_FILE_BYTES else None)
        if reason is None:
            self._names_bytes += len(name)
            check_sums(self.files + 1, self.size_bytes + size, self._names_bytes)
            try:
                content = read()
                self._write(name, content)
            except UNREADABLE as error:
                reason = why_unreadable(error)
            else:
                self.files += 1
                self.size_bytes += len(content)
                return content
        self.leave_out(name, reason)
        return None

    def leave_out(self, name: str, reason: str) -> None:
        check_sums(len(self.left_out), 0)
        self.left_out.append(f"{_short(name)} ({reason})" if len(self.left_out) < _NAMED else "")

    def describe_left_out(self) -> str:
        """Return how many files were left out, with the first ones' names; empty if none was."""
        if not self.left_out:
            return ""
        more = len(self.left_out) - _NAMED
        named = ", ".join(self.left_out[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{len(self.left_out)} left out: {named}"

    def _write(self, name: str, content: bytes) -> None:
        path = self.target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def check_sums(files: int, size_bytes: int, names_bytes: int = 0) -> None:
    """Raise DownloadFailed when a source exceeds a limit: files, bytes in them, bytes in their paths."""
    if files > MAX_SOURCE_FILES:
        raise DownloadFailed(
            f"it has more than {MAX_SOURCE_FILES:,} files or folders: name a part of it instead"
        )
    if size_bytes > MAX_SOURCE_BYTES:
        raise DownloadFailed(
            f"its files have more than {MAX_SOURCE_BYTES / 1e9:.0f} GB together: name a part of it instead"
        )
    if names_bytes > MAX_NAMES_BYTES:
        raise DownloadFailed(
            f"its paths have more than {MAX_NAMES_BYTES / 1e6:.0f} MB together: name a part of it instead"
        )


def bad_name(name: str) -> str | None:
    """Return why no file may have this path inside its source, or None."""
    if len(name) > MAX_NAME_BYTES:  # first, because the other checks read all of it
        return _TOO_LONG
    parts = name.split("/")
    if not name.isprintable() and any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        return "its name is not UTF-8, or has control characters"
    if any(part in ("", ".", "..") for part in parts):
        return "its name leads out of the source"
    if any(part.lower() == ".git" for part in parts):  # git would obey the settings in it
        return "in a .git folder"
    if len(parts) > MAX_DEPTH or len(os.fsencode(name)) > MAX_NAME_BYTES:
        return _TOO_LONG
    return None


def _short(name: str) -> str:
    """Return the start and the end of a name, for a message."""
    if len(name) > _SHOWN_CHARS:
        name = f"{name[: _SHOWN_CHARS // 2]}...{name[-_SHOWN_CHARS // 2 :]}"
    return printable(name)


def files_below(
    folder: Path, on_unreadable: Callable[[str, OSError], None] = lambda name, error: None
) -> list[str]:
    """Return the regular files below `folder` by their paths in it, in the order of their parts.

    Symbolic links are not followed. `on_unreadable` gets a folder that cannot be listed. Unlike `rglob`, this
    does not recurse: a hostile tree is deeper than Python's stack.
    """
    found = list(_walk(folder, on_unreadable))
    # The order of the parts without a list of them for each name: NUL is in no name.
    return sorted(found, key=lambda name: name.replace("/", "\0"))


def _walk(folder: Path, on_unreadable: Callable[[str, OSError], None]) -> Iterator[str]:
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{inside}{entry.name}/")
                    elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                        yield f"{inside}{entry.name}"
        except OSError as error:
            on_unreadable(inside, error)
