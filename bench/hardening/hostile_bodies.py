"""Make request bodies that cost a server as much as they can, at the limits of size; for hostile.py."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

from acepilot.languages import LANGUAGES
from acepilot.protocol import MAX_CHOICES, MAX_ECHO_CHARS, MAX_STOPS, MAX_TEXT_CHARS
from server.routes.body import MAX_VALUES
from server.routes.guard import MAX_BODY_BYTES

EDITOR_CHARS = 24_000
"""Characters of a text at a cursor: twice the window that stops and filters read."""

UNITS = (
    "(",
    "[",
    "{",
    ")",
    "}",
    "([{",
    "()",
    "<",
    "<a ",
    "<a>",
    "<a><b>",
    "</a>",
    "<a '",
    '<a "',
    "<SCRIPT",
    "<script>",
    "<script/>",
    "</script",
    "<style",
    "<!--",
    "-->",
    '"',
    "'",
    "`",
    "${",
    "`${",
    '"""',
    "/*",
    "*/",
    "//",
    "#",
    "\\",
    "=/[",
    "[=/]",
    "=/a/",
    "= ",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\t",
    "a",
    "a ",
    "a.",
    "case ",
    "|a",
    "very ",
    "end\n",
    "if a:\n ",
    "f(a){",
    "あ",
    "😀",
    "\0",
    "<|",
    "<|fim_prefix|>",
    "<fim_",
    "=>",
    ">",
    "@",
    "#{",
    "<?",
    "b'(",
    "\u202e",
)
"""Texts that are repeated: each was, or resembles, the worst case of one expression, loop or grammar."""

PAIRS = (
    ("(", "}"),
    ("([", "})"),
    ("(", "\n}"),
    ("<a>", "}"),
    ("<a ", "}"),
    ("<a>", "</b>"),
    ("<SCRIPT", ">"),
)
"""Openers of the first half of a text, and closers of the other."""

COMPLETIONS = "/v1/completions"
ROUTES = (
    COMPLETIONS,
    "/infill",
    "/v1/engines/any/completions",
    "/v1/chat/completions",
    "/v1/events",
)


@dataclass(frozen=True)
class Attack:
    """`kind` says what is repeated. `language` is empty where it does not matter. `make` makes the body."""

    kind: str
    route: str
    language: str
    make: Callable[[], bytes]


def read() -> Iterator[Attack]:
    """Yield texts that cost much to read, for each language and protocol of editors, and the longest."""
    for language in LANGUAGES:
        for kind, text in texts(EDITOR_CHARS):
            for route, body in _editors_requests(language, text):
                yield Attack(kind, route, language, partial(_json, body))
    for kind, text in texts(MAX_TEXT_CHARS):
        for route, body in (
            (COMPLETIONS, {"prompt": text, "max_tokens": 1}),
            (COMPLETIONS, {"prompt": text, "suffix": text, "max_tokens": 1, "language": "html"}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "max_tokens": 1}),
        ):
            yield Attack(f"1 MB {kind}", route, "", partial(_json, body))


def generated() -> Iterator[Attack]:
    """Yield requests whose answers cost much: many choices, long ones, and what is looked for in them."""
    many = {"n": MAX_CHOICES, "temperature": 0.7, "max_tokens": 150}
    for (kind, text), language in zip(texts(EDITOR_CHARS), cycle(LANGUAGES)):
        for name, fields in (
            ("choices in an editor", {"suffix": f"\n{text}", "language": language, "mode": "block"}),
            ("log-probabilities", {"prompt": text[:400], "logprobs": 0, "mode": "raw"}),
            ("stop strings", {"stop": [(f"{end}{text}")[:256] for end in range(MAX_STOPS)], "mode": "raw"}),
        ):
            body = {"prompt": text, **many, **fields}
            yield Attack(f"{name}: {kind}", COMPLETIONS, language, partial(_json, body))
    hidden = "x = '\u200b\u200b\u200b\u200b\u200b\u200b'\n" * 60 + "x = '\u200b\u200b"
    for name, document in (
        ("few", "ab" * 450_000),
        ("many", "".join(map(chr, (*range(0x3400, 0xD7FF), *range(0x20000, 0x2FFFF)))) * 4),
    ):
        body = {"prompt": f"{document}\n{hidden}", "suffix": f"\n{document}", "language": "python", **many}
        yield Attack(f"hidden characters, {name} distinct ones", COMPLETIONS, "python", partial(_json, body))
    for chars in (MAX_ECHO_CHARS // MAX_CHOICES, MAX_TEXT_CHARS):
        body = {"prompt": "\x01" * chars, "echo": True, **many, "max_tokens": 1}
        yield Attack(f"echo of {chars:,} characters", COMPLETIONS, "", partial(_json, body))


def structured() -> Iterator[Attack]:
    """Yield JSON of every structure, for every route."""
    for route in ROUTES:
        for kind, make in structures():
            yield Attack(kind, route, "", make)
    for name in ("/" * 3_900_000, "timings/" * 480_000):
        fields = {"input_prefix": "x", "n_predict": 1, "response_fields": [name]}
        yield Attack(f"a name of parts: {name[:8]}", "/infill", "", partial(_json, fields))


def texts(chars: int) -> Iterator[tuple[str, str]]:
    for unit in UNITS:
        yield ascii(unit), _filled(unit, chars)
    for opener, closer in PAIRS:
        yield f"{opener!a} {closer!a}", _filled(opener, chars // 2) + _filled(closer, chars // 2)
        yield (
            f"{opener!a} {closer!a} newline",
            _filled(opener, chars // 2) + _filled(closer, chars // 2) + "\n",
        )


def structures() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield JSON of each kind, once as large as a body may be and once with as many values as it may have."""
    for name, unit, beginning, end in (
        ("numbers", b"1,", b"[", b"1]"),
        ("lists", b"[],", b"[", b"1]"),
        ("objects", b"{},", b"[", b"1]"),
        ("strings", b'"",', b"[", b"1]"),
        ("escapes", rb"\"\\", b'"', b'"'),
        ("depth", b"[", b"", b""),
        ("digits", b"1", b"", b""),
        ("long numbers", b"1" * 4_300 + b",", b"[", b"1]"),
        ("long fractions", b"1." + b"1" * 4_300 + b",", b"[", b"1]"),
        ("line feeds", b"\n", b"", b"{}"),
    ):
        for field in ("prompt", "messages", "input_extra", "stop", "segments", "events"):
            head, tail = b'{"%s":' % field.encode() + beginning, end + b"}"
            count = (MAX_BODY_BYTES - len(head) - len(tail)) // len(unit)
            yield f"{name} in {field}, 4 MB", partial(_repeated, head, unit, count, tail)
            yield f"{name} in {field}", partial(_repeated, head, unit, min(count, MAX_VALUES // 2 - 10), tail)
    for count in (MAX_VALUES - 10, 300_000):
        yield f"{count:,} unknown keys", partial(_keys, b"{", count, b"}")
        yield f"{count:,} unknown keys of an event", partial(_keys, b'{"events":[{', count, b"}]}")
    for count in (6_000, 100_000):
        message, extra = b'{"role":"user","content":"x"},', b'{"text":"x"},'
        yield f"{count:,} messages", partial(_repeated, b'{"messages":[', message, count, b"{}]}")
        yield f"{count:,} extras", partial(_repeated, b'{"input_extra":[', extra, count, b"{}]}")


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _repeated(head: bytes, unit: bytes, count: int, tail: bytes) -> bytes:
    return head + unit * count + tail


def _keys(head: bytes, count: int, tail: bytes) -> bytes:
    return head + b",".join(b'"k%d":1' % number for number in range(count)) + tail


def _editors_requests(language: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    path = f"a{next(iter(LANGUAGES[language].extensions), '')}"
    yield COMPLETIONS, {"prompt": text, "suffix": text, "language": language, "max_tokens": 4}
    yield COMPLETIONS, {"prompt": f"{text}\n", "path": path, "language": language, "max_tokens": 4}
    segments = {"prefix": "a", "suffix": text, "filepath": path}
    yield COMPLETIONS, {"language": language, "segments": segments}
    yield "/infill", {"input_prefix": text, "input_suffix": text, "n_predict": 4}
    yield (
        "/v1/engines/any/completions",
        {"prompt": text, "suffix": text, "max_tokens": 4, "extra": {"language": language}},
    )


def _filled(unit: str, chars: int) -> str:
    return (unit * (chars // len(unit) + 1))[:chars]
