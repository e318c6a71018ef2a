"""A program in a terminal of its own, 24 lines by 80: keys in, what it draws out."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest


class Terminal:
    def __init__(self, words: list[str], folder: Path, **variables: str) -> None:
        """`folder` is the program's home, and where it runs."""
        self.drawn = b""
        """All of it so far, with what moves the cursor."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._process = subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, "TERM": "xterm", "HOME": str(folder), **variables},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._master)

    def keys(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, condition: Callable[[], object], tell: Callable[[], str] = str) -> None:
        end = time.monotonic() + 20
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"did not come true within 20 s\n{tell()}")
            time.sleep(0.05)

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self._master, 65536):
                self.drawn += data
