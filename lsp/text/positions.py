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
    if units >= len(line) and (line.isascii() or encoding == "utf-32"):
        return len(line)
    head = line[:units]
    if encoding == "utf-32" or head.isascii():
        return len(head)
    codec, width = _CODECS[encoding]
    encoded = head.encode(codec, "surrogatepass")
    cut = min(units * width, len(encoded))
    while cut < len(encoded) and _is_inside_character(encoded, cut, encoding):
        cut -= width
    return len(encoded[:cut].decode(codec, "surrogatepass"))


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


def _is_inside_character(encoded: bytes, cut: int, encoding: Encoding) -> bool:
    if encoding == "utf-8":
        return 0x80 <= encoded[cut] < 0xC0
    # The high byte of a low surrogate, after that of a high one: a lone surrogate is a character here.
    return 0xDC <= encoded[cut + 1] < 0xE0 and cut >= 2 and 0xD8 <= encoded[cut - 1] < 0xDC
