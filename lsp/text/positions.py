"""LSP positions in Python strings: lines end at LF, CRLF or CR; columns count UTF-8, UTF-16 or UTF-32 units.

Python's `splitlines` is not used: it also ends lines at form feeds, U+2028 and more, where editors do not.
"""

import io
import re
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]

_CODECS: dict[Encoding, tuple[str, int]] = {
    "utf-8": ("utf-8", 1),
    "utf-16": ("utf-16-le", 2),
    "utf-32": ("utf-32-le", 4),
}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def split_lines(text: str) -> list[str]:
    """Return the lines of `text` with their ends. The last line has no end and may be empty."""
    lines = list(io.StringIO(text, newline=""))
    if not lines or lines[-1].endswith(("\n", "\r")):
        lines.append("")
    return lines


def content(line: str) -> str:
    """Return a line without its end."""
    return line.rstrip("\r\n")


def index_from_units(line: str, units: int, encoding: Encoding) -> int:
    """Return the index in `line` (without its end) of the column `units`.

    A column inside a character counts as its start. A column beyond the end counts as the end, as LSP says.
    """
    head = line[:units]
    if encoding == "utf-32" or head.isascii():
        return len(head)
    codec, width = _CODECS[encoding]
    # A lone surrogate has the width of U+FFFD; `ignore` drops a character that the cut broke.
    encoded = _LONE_SURROGATE.sub("\ufffd", head).encode(codec)
    return len(encoded[: units * width].decode(codec, "ignore"))


def units_from_index(line: str, index: int, encoding: Encoding) -> int:
    """Return the column, in units of `encoding`, of the character at `index` in `line`."""
    head = line[:index]
    if encoding == "utf-32" or head.isascii():
        return len(head)
    codec, width = _CODECS[encoding]
    return len(head.encode(codec, "surrogatepass")) // width


def join_surrogates(text: str) -> str:
    """Join halves of UTF-16 pairs, which JSON may deliver one by one, into characters."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def readable(text: str) -> str:
    """Return `text` with LF line ends and without lone surrogates, which no JSON encoder accepts."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
