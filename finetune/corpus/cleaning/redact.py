"""Build, step 5: replace secrets and personal data in a text, each value wherever it occurs in the text.

A password in a URL that looks like a plain word is replaced only there. The replacements are values reserved
for documentation, so the text still parses and a model that learns them reveals nothing. detect-secrets
provides the token patterns, the entropy measure and the list of false alarms. They run over whole texts: its
own scan, line by line, takes 0.23 ms a line.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import cast

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.filters.heuristic import (
    is_not_alphanumeric_string,
    is_potential_uuid,
    is_sequential_string,
    is_templated_secret,
)
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString, HexHighEntropyString
from detect_secrets.plugins.jwt import JwtTokenDetector

SECRET = "REDACTED_SECRET"  # noqa: S105 - the replacement, not a secret
EMAIL = "user@example.com"
IPV4 = "192.0.2.1"  # RFC 5737
IPV6 = "2001:db8::1"  # RFC 3849

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(.+?)-----END [A-Z0-9 ]*PRIVATE KEY", re.DOTALL
)
_BASIC_AUTH = re.compile(r"(://[^\s:/?#\[\]@\"'`]+:)([^\s:/?#\[\]@\"'`$<{]{3,})@")
_PLACEHOLDERS = ("password", "pass", "secret", SECRET.lower())
_ASSIGNED = re.compile(
    r"\b\w*(?:password|passwd|pwd|secret|token|api_?key|auth_?key|private_?key|access_?key|credential)\w*[\"']?"
    r"\s*(?:=>?|:|:=)\s*([\"'`])([^\"'`\s]{8,200})\1",
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[\w=-]+\.[\w=-]+\.?[\w.+/=-]*")
_QUOTED = re.compile(r"([\"'`])([A-Za-z0-9+/=_-]{20,200})\1")
_EMAIL = re.compile(r"(?<![\w.+/-])[\w.+-]{1,64}@(?:[\w-]+\.)+([A-Za-z]{2,24})(?![\w-]|\.\w)")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::|[0-9A-Fa-f]{1,4})(?::[0-9A-Fa-f]{1,4})*(?![\w:])"
)

_RESERVED_MAIL = re.compile(
    r"@(?:[\w-]+\.)*(example|test|invalid|localhost)(\.\w+)?$|^(git|noreply|no-reply)@", re.I
)
_FILE_ENDING = re.compile(r"png|jpe?g|gif|svg|webp|avif|ico|css|scss|less|[mc]?js|jsx|tsx?|vue|json|md", re.I)
_USER_OF_URL = re.compile(r"://[^\s/@]*:$")
_PICTURE_DATA = re.compile(r"[Mm]\s?-?[\d.]+[\d\s.,a-zA-Z-]*$")
_BASE64_ENTROPY, _HEX_ENTROPY = 4.5, 3.0  # detect-secrets' own limits


def redact(text: str) -> tuple[str, Counter[str]]:
    """Return the redacted text, and the number of replaced values of each kind (secret, email, ip)."""
    replaced: Counter[str] = Counter()
    values: dict[str, tuple[str, str]] = {}
    for kind, substitute, found in (
        ("secret", SECRET, _secrets(text)),
        ("email", EMAIL, _emails(text)),
        ("ip", IPV4, _ipv4(text)),
        ("ip", IPV6, _ipv6(text)),
    ):
        for value in found:
            values.setdefault(value, (kind, substitute))
    # The longest value first, because it may contain a shorter one.
    for value in sorted(values, key=lambda value: (-len(value), value)):
        kind, substitute = values[value]
        if value in text:
            text = text.replace(value, substitute)
            replaced[kind] += 1
    text, passwords = _redact_url_passwords(text)
    replaced["secret"] += passwords
    return text, +replaced


def _redact_url_passwords(text: str) -> tuple[str, int]:
    """Replace the passwords in `scheme://user:password@host`; return the text and their number."""
    found: set[str] = set()

    def redacted(match: re.Match[str]) -> str:
        before, value = match.groups()
        if value.lower() in _PLACEHOLDERS or is_sequential_string(value):
            return match.group(0)
        found.add(value)
        return f"{before}{SECRET}@"

    return _BASIC_AUTH.sub(redacted, text), len(found)


def _secrets(text: str) -> Iterator[str]:
    for match in _PEM.finditer(text):
        yield match.group(1).strip("\\n \n\"'+")
    for match in _BASIC_AUTH.finditer(text):
        if _looks_random(match.group(2), least_entropy=2.5):
            yield match.group(2)
    for pattern in _token_patterns():
        for match in pattern.finditer(text):
            value = max(
                (group for group in match.groups() if group and len(group) >= 16), default=match.group(0)
            )
            if any(map(str.isdigit, value)):  # a constant like " APERTUREVALUE" matches a token pattern too
                yield value.strip(" \t\n=:\"'")
    jwt = JwtTokenDetector()
    if "eyJ" in text:
        yield from (match.group(0) for match in _JWT.finditer(text) if jwt.is_formally_valid(match.group(0)))
    for match in _ASSIGNED.finditer(text):
        if _looks_random(value := match.group(2), least_entropy=3.0):
            yield value
    base64_strings, hex_strings = Base64HighEntropyString(_BASE64_ENTROPY), HexHighEntropyString(_HEX_ENTROPY)
    for match in _QUOTED.finditer(text):
        value = match.group(2)
        is_hex = len(value) >= 32 and re.fullmatch(r"[0-9a-fA-F]+", value) is not None
        plugin, limit = (hex_strings, _HEX_ENTROPY) if is_hex else (base64_strings, _BASE64_ENTROPY)
        if plugin.calculate_shannon_entropy(value) > limit and _looks_random(value, least_entropy=limit):
            yield value


def _looks_random(value: str, least_entropy: float) -> bool:
    """Return False for names, paths, alphabets, templates and UUIDs, which are usual false alarms."""
    false_alarms = (is_templated_secret, is_sequential_string, is_not_alphanumeric_string, is_potential_uuid)
    if any(is_false(value) for is_false in false_alarms):
        return False
    if "/" in value[:2] or value.startswith("data:") or any(part in value for part in ("${", "{{", "\\u")):
        return False
    digits, letters = sum(map(str.isdigit, value)), sum(map(str.isalpha, value))
    if digits < 2 or letters < 2 or _is_alphabet(value):
        return False
    words = re.findall(r"[A-Z]?[a-z]{3,}", value)
    if sum(map(len, words)) > 0.6 * len(value):  # camelCase, kebab-case and paths consist of words
        return False
    return Base64HighEntropyString(least_entropy).calculate_shannon_entropy(value) > least_entropy


def _is_alphabet(value: str) -> bool:
    """Return whether more than half of the characters follow their predecessor, as in a character table."""
    return sum(ord(after) - ord(before) == 1 for before, after in pairwise(value)) > len(value) // 2


@cache
def _token_patterns() -> tuple[re.Pattern[str], ...]:
    """Return detect-secrets' patterns of named tokens (AWS, GitHub, Slack ...)."""
    own = {"JSON Web Token", "Basic Auth Credentials", "Private Key", "Public IP (ipv4)"}  # matched above
    # These look for a company's name near a value, and so match prose and code about that company.
    own |= {"Cloudant Credentials", "IBM Cloud IAM Key", "IBM COS HMAC Credentials", "SoftLayer Credentials"}
    patterns: list[re.Pattern[str]] = []
    for name, plugin in sorted(get_mapping_from_secret_type_to_class().items()):
        if name not in own and issubclass(plugin, RegexBasedDetector):
            patterns.extend(cast(list[re.Pattern[str]], plugin().denylist))
    return tuple(patterns)


def _emails(text: str) -> Iterator[str]:
    for match in _EMAIL.finditer(text):
        in_url = _USER_OF_URL.search(text[max(match.start() - 80, 0) : match.start()])
        reserved = _FILE_ENDING.fullmatch(match.group(1)) or _RESERVED_MAIL.search(match.group(0))
        if not in_url and not reserved:
            yield match.group(0)


def _ipv4(text: str) -> Iterator[str]:
    """Yield public addresses, but not numbers of SVG paths ("1.5.5.3") or short version numbers."""
    for match in _IPV4.finditer(text):
        value, before = match.group(0), text[max(match.start() - 80, 0) : match.start()]
        if len(value) >= 9 and _is_public(value) and not _PICTURE_DATA.search(before):
            yield value


def _ipv6(text: str) -> Iterator[str]:
    yield from (match.group(0) for match in _IPV6.finditer(text) if _is_public(match.group(0)))


def _is_public(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False
