"""LSP positions and Python strings: lines end at LF, CRLF or CR; columns count UTF-8, UTF-16 or UTF-32 units.

Python's own `splitlines` also ends lines at form feeds, U+2028 and more, where an editor does not.
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
    """The lines of `text` with their ends. The last one has none, and may be empty: there is always one."""
    lines = list(io.StringIO(text, newline=""))
    if not lines or lines[-1].endswith(("\n", "\r")):
        lines.append("")
    return lines


def content(line: str) -> str:
    """A line without its end."""
    return line.rstrip("\r\n")


def index_from_units(line: str, units: int, encoding: Encoding) -> int:
    """Index into `line` (without its end) of the column `units`; inside a character it is that one's start.

    A column beyond the end is the end, as LSP says.
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
    """Column, in units of `encoding`, of the character at `index` in `line`."""
    head = line[:index]
    if encoding == "utf-32" or head.isascii():
        return len(head)
    codec, width = _CODECS[encoding]
    return len(head.encode(codec, "surrogatepass")) // width


def join_surrogates(text: str) -> str:
    """`text` with halves of a UTF-16 pair, which JSON may deliver one by one, made one character again."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def readable(text: str) -> str:
    """LF line ends, and no halves of surrogate pairs, which no JSON encoder takes."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def _is_inside_character(encoded: bytes, cut: int, encoding: Encoding) -> bool:
    if encoding == "utf-8":
        return 0x80 <= encoded[cut] < 0xC0
    # The high byte of a low surrogate. Halves that stand alone were joined or are alone for good.
    return 0xDC <= encoded[cut + 1] < 0xE0 and cut >= 2 and 0xD8 <= encoded[cut - 1] < 0xDC
