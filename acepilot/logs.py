"""Log lines that hold no code of libraries' messages, never stop a program, and cannot fill a disk.

An exception's text may quote its input (pydantic, json, tokenizers), and some libraries log whole messages.
So a library's record is printed as the first line of its template, without arguments. An exception is printed
as its type and traceback, without its message.
"""

import contextlib
import io
import logging
import os
import select
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import TextIO

OUR_LOGGER = "acepilot"

LIBRARY_LINES = 60
"""Lines a minute of one message of a library. asyncio logs every connection that it cannot accept."""

PIPE_BYTES = 4096
"""Bytes that Linux's pipes take at once when they say that they take any."""

KINDS = 256
"""Kinds of lines that are counted at a time, so that a message with a number in it cannot fill the memory."""


class NoPayload(logging.Formatter):
    """Formats Acepilot's own records, which must hold no code, in full, and others as templates."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] == OUR_LOGGER
        message = record.getMessage() if ours else template(record)
        line = f"{record.levelname} {record.name}: {message}"
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + describe(record.exc_info[0], record.exc_info[2])
        return line


def template(record: logging.LogRecord) -> str:
    """Return the first line of a record without its arguments. asyncio adds objects below it."""
    return str(record.msg).partition("\n")[0]


def describe(kind: type[BaseException], trace: TracebackType | None) -> str:
    """Return an exception's type and traceback, without its message."""
    places = [f"  at {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return "\n".join([f"  {kind.__qualname__}", *places])


class LogOutput(io.TextIOBase):
    """Writes log lines to a file or pipe. Lines that it does not take at once are dropped and counted.

    A full disk, a reader that has gone and one that does not read must not stop a program. The next line that
    can be written says how many were dropped.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.dropped = 0
        self._reported = 0
        self._lock = threading.Lock()
        self._fd = -1  # a program may be started without standard error
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._fd = stream.fileno()

    def write(self, text: str, /) -> int:
        with self._lock:
            dropped = self.dropped - self._reported
            note = f"{dropped} log lines were dropped: they could not be written.\n" if dropped else ""
            if _is_written(self._fd, (note + text).encode(errors="backslashreplace")):
                self._reported = self.dropped
            else:
                self.dropped += 1
        return len(text)


def _is_written(fd: int, data: bytes) -> bool:
    """Write without waiting for the reader of a pipe or terminal. Return False if anything is left."""
    try:
        while data:
            if sys.platform != "win32" and not select.select([], [fd], [], 0)[1]:
                return False
            data = data[os.write(fd, data[:PIPE_BYTES]) :]
    except (OSError, ValueError):
        return False
    return True


class LineLimit:
    """Lets each kind of line through `lines` times a minute, so that a flood cannot fill a disk."""

    def __init__(self, lines: int) -> None:
        self.suppressed = 0
        self._lines = lines
        self._windows: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def admit(self, kind: str) -> int | None:
        """Return the number of lines of this kind suppressed before this one; None to suppress this one."""
        now = time.monotonic()
        before = 0
        with self._lock:
            if kind not in self._windows and len(self._windows) >= KINDS:
                self._windows.clear()
            began, count = self._windows.get(kind, (now, 0))
            if now - began >= 60:
                before = max(0, count - self._lines)
                began, count = now, 0
            self._windows[kind] = began, count + 1
            if count >= self._lines:
                self.suppressed += 1
                return None
        return before


class LimitRecords(logging.Filter):
    """Suppresses a library's message that comes too often; the next one says how many were suppressed."""

    def __init__(self, limit: LineLimit) -> None:
        super().__init__()
        self._limit = limit

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".")[0] == OUR_LOGGER:
            return True
        before = self._limit.admit(f"{record.name}: {template(record)}")
        if before:
            record.msg = f"{template(record)} ({before} more in the minute before)"
        return before is not None
