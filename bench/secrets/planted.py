"""Planted secrets: forms in a text file, and values that are drawn from a seed.

A form begins with a line `=== LANGUAGE: NAME`, and its text has placeholders `«KIND LENGTH»`. No file has a
value, so no secret scanner reports it.
"""

import base64
import json
import random
import re
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FORM = re.compile(r"^=== (\w+): (.+)\n", re.MULTILINE)
_PLACEHOLDER = re.compile(r"( *)([^«»\n]*)«(\w+)(?: (\d+))?»")
_ALPHABETS = {
    "alnum": string.ascii_letters + string.digits,
    "letters": string.ascii_letters,
    "lower": string.ascii_lowercase + string.digits,
    "upper": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "digits": string.digits,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "b64": string.ascii_letters + string.digits + "+/",
    "b64url": string.ascii_letters + string.digits + "-_",
}
_WORDS = [
    "butterfly",
    "harvest",
    "lantern",
    "monkey",
    "orbit",
    "pepper",
    "quiver",
    "ribbon",
    "saddle",
    "timber",
    "umbrella",
    "velvet",
    "walnut",
    "anchor",
    "bicycle",
    "canyon",
    "dolphin",
    "emerald",
    "falcon",
    "garlic",
    "hammock",
    "island",
    "jungle",
    "kitten",
]
_WINDOW_CHARS = 8
"""A secret counts as found only if no part of this length is left."""


@dataclass(frozen=True)
class Planted:
    """A form with its values filled in."""

    name: str
    language: str
    text: str
    values: tuple[str, ...]

    def left_in(self, redacted: str) -> bool:
        """Return whether a part of a value is still in the redacted text."""
        return any(part in redacted for value in self.values for part in _parts(value))


def plant(path: Path, seed: int) -> list[Planted]:
    """Return the forms of a file with values drawn from `seed`."""
    pieces = _FORM.split(path.read_text(encoding="utf-8"))[1:]
    forms = zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)
    return [_filled(language, name, text, seed) for language, name, text in forms]


def _filled(language: str, name: str, text: str, seed: int) -> Planted:
    source = random.Random(f"{seed}, {language}, {name}")
    values: list[str] = []

    def fill(match: re.Match[str]) -> str:
        indent, before, kind, length = match.groups()
        at_line_start = match.string[: match.start()].endswith("\n") or match.start() == 0
        value = _value(kind, int(length or 0), indent if at_line_start and not before else "", source)
        values.append(value)
        return f"{indent}{before}{value}"

    return Planted(f"{language}: {name}", language, _PLACEHOLDER.sub(fill, text), tuple(values))


def _value(kind: str, length: int, indent: str, source: random.Random) -> str:
    if kind in _ALPHABETS:
        return "".join(source.choices(_ALPHABETS[kind], k=length))
    match kind:
        case "word":
            return source.choice(_WORDS)
        case "words":
            return " ".join(source.sample(_WORDS, length))
        case "weak":
            return f"{source.choice(_WORDS)}{source.randrange(10, 1000)}"
        case "pass":
            letters = source.choices(_ALPHABETS["alnum"], k=8) + source.choices("!%^*-_+.&", k=2)
            source.shuffle(letters)
            return source.choice(string.ascii_letters) + "".join(letters) + str(source.randrange(10))
        case "uuid":
            return str(uuid.UUID(int=source.getrandbits(128), version=4))
        case "pem" | "pem1":
            lines = ["".join(source.choices(_ALPHABETS["b64"], k=64)) for _ in range(length)]
            return (f"\n{indent}" if kind == "pem" else "\\n").join(lines)
        case "jwt":
            parts = [{"alg": "HS256", "typ": "JWT"}, {"role": "service_role", "exp": source.getrandbits(31)}]
            encoded = [
                base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
            ]
            return ".".join([*encoded, _value("b64url", 43, "", source)])
        case _:
            raise ValueError(f"unknown kind of value: {kind}")


def _parts(value: str) -> Iterator[str]:
    if len(value) <= _WINDOW_CHARS:
        yield value
    for start in range(len(value) - _WINDOW_CHARS + 1):
        yield value[start : start + _WINDOW_CHARS]
