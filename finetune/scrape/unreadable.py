"""What unreadable input raises: damaged archives, odd names, missing permissions.

Code that reads one of many files or sources catches UNREADABLE, names the input, and goes on with the others.
"""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib

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
    return f"{type(error).__name__}: {printable(str(error))[:200]}".removesuffix(": ")


def printable(text: str) -> str:
    """Return `text` with escapes for control characters, and for surrogates (of names not in UTF-8)."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
