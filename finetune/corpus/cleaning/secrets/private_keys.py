"""Private keys: PEM and OpenPGP with and without their END line, on one line with `\\n`, and PuTTY's files.

No pattern spans a whole key: between one BEGIN and the next, `find` looks for END, so that each character is
read once.
"""

import re

from finetune.corpus.cleaning.secrets.values import Spans

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1)-----")
_PUTTY = re.compile(r"Private-(?:Lines: \d{1,4}|MAC: (?=[0-9a-f]))")
_END = "-----END "
_MAX_KEY_CHARS = (
    40_000  # an RSA key of 16,384 bits has 13,000 in base64; quotes, `\n` and indents come on top
)
_LINE = re.compile(r"(?:\\[nr]|[\s\"'+,.;>|#*/-]){0,80}[A-Za-z0-9+/=]{20,}+")
_LAST_LINE = re.compile(r"(?:\\[nr]|[\s\"'+,.;>|#*/-]){1,80}[A-Za-z0-9+/]{1,20}={0,2}(?![\w=(.:])")
_KEY_MATERIAL = re.compile(r"(?=[A-Za-z+/]{0,15}\d)[A-Za-z0-9+/]{16,}+")
_AROUND = " \t\r\n\"'+,.;>|#*/"
"""Characters of the code around a key: quotes, indents, comment marks."""
_ESCAPES = ("\\n", "\\r")


def find_private_keys(text: str) -> Spans:
    """Yield the span of each key, without its BEGIN and END lines."""
    begins = list(_BEGIN.finditer(text))
    for number, begin in enumerate(begins):
        next_begin = begins[number + 1].start() if number + 1 < len(begins) else len(text)
        limit = min(next_begin, begin.end() + _MAX_KEY_CHARS)
        end = text.find(_END, begin.end(), limit)
        if end < 0:
            end = _end_of_lines(text, begin.end(), limit)
        yield from _stripped(text, begin.end(), end)
    for begin in _PUTTY.finditer(text):
        yield from _stripped(
            text, begin.end(), _end_of_lines(text, begin.end(), begin.end() + _MAX_KEY_CHARS)
        )


def _end_of_lines(text: str, start: int, limit: int) -> int:
    """Return where the lines of base64 end that follow `start`."""
    end = start
    while line := _LINE.match(text, end, limit):
        end = line.end()
    last = _LAST_LINE.match(text, end, limit) if end > start else None
    return last.end() if last else end


def _stripped(text: str, start: int, end: int) -> Spans:
    # Code that looks for BEGIN and END has something between them, too, but no base64. Examples have dots.
    if not _KEY_MATERIAL.search(text, start, end) or text.find("...", start, end) >= 0:
        return
    while start < end and (width := _width_of_code(text[start], text[start : start + 2])):
        start += width
    while start < end and (width := _width_of_code(text[end - 1], text[end - 2 : end])):
        end -= width
    yield start, end


def _width_of_code(character: str, pair: str) -> int:
    return 2 if pair in _ESCAPES else int(character in _AROUND)
