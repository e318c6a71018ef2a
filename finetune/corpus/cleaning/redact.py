"""Build, step 5: replace secrets and personal data in a text.

The replacements are values reserved for documentation, so the text still parses and a model that learns them
reveals nothing. A secret that can hardly stand in the text by chance is replaced wherever it occurs, the
others only where they were found.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator

from finetune.corpus.cleaning.secrets import find_secrets

SECRET = "REDACTED_SECRET"  # noqa: S105 - the replacement, not a secret
EMAIL = "user@example.com"
IPV4 = "192.0.2.1"  # RFC 5737
IPV6 = "2001:db8::1"  # RFC 3849

_MOST_REPEATED = 200
"""Different secrets whose other occurrences are searched. Each search reads the whole text: without a limit,
the time for a text full of secrets would grow with the square of its length."""
_SHORTEST_REPEATED = 8
"""Characters. A shorter value, or one without digits, may be a part of other words."""

_EMAIL = re.compile(r"(?<![\w.+/-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,10}([A-Za-z]{2,24})(?![\w-]|\.\w)")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::|[0-9A-Fa-f]{1,4})(?::[0-9A-Fa-f]{1,4}){0,7}(?![\w:])"
)
_RESERVED_MAIL = re.compile(
    r"@(?:[\w-]+\.)*(example|test|invalid|localhost)(\.\w+)?$|^(git|noreply|no-reply)@", re.I
)
_FILE_ENDING = re.compile(r"png|jpe?g|gif|svg|webp|avif|ico|css|scss|less|[mc]?js|jsx|tsx?|vue|json|md", re.I)
_USER_OF_URL = re.compile(r"://[^\s/@]*:$")
_PICTURE_DATA = re.compile(r"[Mm]\s?-?[\d.]+[\d\s.,a-zA-Z-]*$")

_Place = tuple[int, int, str, str]
"""Start and end in characters, kind, replacement."""


def redact(text: str, language: str = "") -> tuple[str, Counter[str]]:
    """Return the redacted text, and the number of different values of each kind (secret, email, ip).

    `language` is an id of acepilot.languages; in some, a bare word after `password:` is a password.
    """
    secrets = find_secrets(text, language)
    places: list[_Place] = [
        (start, end, "secret", SECRET) for start, end in [*secrets, *_again(text, secrets)]
    ]
    places += [(*place, "email", EMAIL) for place in _emails(text)]
    places += [(*place, "ip", IPV4) for place in _ipv4(text)]
    places += [(*place, "ip", IPV6) for place in _ipv6(text)]
    values: set[tuple[str, str]] = set()
    pieces: list[str] = []
    done = 0
    for start, end, kind, replacement in _disjoint(places):
        values.add((kind, text[start:end]))
        pieces += [text[done:start], replacement]
        done = end
    return "".join([*pieces, text[done:]]), Counter(kind for kind, _ in values)


def _again(text: str, secrets: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the other places of the secrets that are long and have digits."""
    values = dict.fromkeys(text[start:end] for start, end in secrets)
    unlikely = [
        value for value in values if len(value) >= _SHORTEST_REPEATED and any(map(str.isdigit, value))
    ]
    for value in unlikely[:_MOST_REPEATED]:
        start = text.find(value)
        while start >= 0:
            yield start, start + len(value)
            start = text.find(value, start + len(value))


def _disjoint(places: list[_Place]) -> Iterator[_Place]:
    """Yield the places in their order, overlapping ones as one, which has the kind of the longer."""
    last: _Place | None = None
    for place in sorted(places, key=lambda place: (place[0], -place[1])):
        if last is None or place[0] >= last[1]:
            if last is not None:
                yield last
            last = place
        elif place[1] > last[1]:
            longer = max(last, place, key=lambda one: one[1] - one[0])
            last = (last[0], place[1], *longer[2:])
    if last is not None:
        yield last


def _emails(text: str) -> Iterator[tuple[int, int]]:
    for match in _EMAIL.finditer(text):
        in_url = _USER_OF_URL.search(text[max(match.start() - 80, 0) : match.start()])
        reserved = _FILE_ENDING.fullmatch(match.group(1)) or _RESERVED_MAIL.search(match.group(0))
        if not in_url and not reserved:
            yield match.span()


def _ipv4(text: str) -> Iterator[tuple[int, int]]:
    """Yield public addresses, but not numbers of SVG paths ("1.5.5.3") or short version numbers."""
    for match in _IPV4.finditer(text):
        value, before = match.group(0), text[max(match.start() - 80, 0) : match.start()]
        if len(value) >= 9 and _is_public(value) and not _PICTURE_DATA.search(before):
            yield match.span()


def _ipv6(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span() for match in _IPV6.finditer(text) if _is_public(match.group(0)))


def _is_public(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False
