"""What unreadable input raises: damaged archives, odd names, missing permissions.

Code that reads one of many files or sources catches UNREADABLE, names the input, and goes on with the others.
"""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib

MESSAGE_CHARS = 500
"""The most of a name or line that a message shows: more than an honest one has."""

UNREADABLE = (
    OSError,
    ValueError,  # with UnicodeError and JSONDecodeError
    RuntimeError,  # with RecursionError and NotImplementedError; zipfile raises it for encrypted members
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def why_unreadable(error: Exception) -> str:
    """Return the reason in a few words. Raises `error` itself for a full disk: no input causes that."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):  # the message may hold a hostile name
        raise error
    return f"{type(error).__name__}: {printable(str(error), 200)}".removesuffix(": ")


def printable(text: str, max_chars: int = MESSAGE_CHARS) -> str:
    """Return `text`, cut to `max_chars`, with escapes for control characters and for surrogates.

    Surrogates stand for the bytes of names that are not UTF-8.
    """
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:max_chars])
    return shown if len(text) <= max_chars else f"{shown}..."
