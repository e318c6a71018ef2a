"""Passwords and tokens in URLs and connection strings."""

import re

from finetune.corpus.cleaning.secrets.names import Kind, kind_of
from finetune.corpus.cleaning.secrets.values import Spans, is_placeholder, looks_chosen, looks_random

# The password goes up to the last @ before white space or a quote: people write p@ss/word unescaped.
_USER_AND_PASSWORD = re.compile(r"://([^\s:/?#\[\]@\"'`<>]{0,64}):([^\s\"'`<>\\]{3,128})@(?=[\w\[{$%-])")
_PORT = re.compile(r"\d{1,5}[/,?#)\]}]")
_OWN_PLACEHOLDERS = ("password", "pass", "secret", "redacted_secret", "pwd", "pw")
_EXAMPLE = re.compile(r"passw|secret|example|change|your|placeholder|key_")
_USER_ALONE = re.compile(
    r"://([\w.~-]{16,200}):?(?:x-oauth-basic)?@(?![\w.-]{0,60}(?:sentry|ingest|glitchtip|bugsnag))"
)
_PARAMETER = re.compile(r"=([^\s=;&\"'`<>\\,()}]{4,200})(?=[;&\"'`\s<\\]|$)")
_NAME_OF_PARAMETER = re.compile(r"(?:^|[;?&\"'\s])([A-Za-z][\w.-]{1,40})$")
_SIGNATURE = re.compile(r"(?:X-(?:Amz|Goog)-)?(?:Signature|Security-Token|sig)", re.IGNORECASE)
_CONNECTION_PASSWORD = re.compile(
    r"(?:[pP]assword|PASSWORD|[pP]asswd|[pP]wd|PWD)(?<![\w.][pP]assword)(?<![\w.]PASSWORD)(?<![\w.][pP]wd)\s?=\s?([^\s;,()\"'`<>\\{}$]{4,200})(?=;|&quot;|\"|'|$)"
)
_CONNECTION_STRING = re.compile(r"(?i)jdbc:|(?:server|host|data source|database|user id|uid|dbname) ?=")
_LOOK_BACK_CHARS = 200


def find_in_addresses(text: str) -> Spans:
    """Yield the spans of passwords and tokens in addresses."""
    if "://" in text:
        for match in _USER_AND_PASSWORD.finditer(text):
            password = match.group(2)
            if not _PORT.match(password) and not _is_reference(password):
                yield match.span(2)
            if looks_random(match.group(1), least_entropy=3.0) and len(match.group(1)) >= 16:
                yield match.span(1)
        for match in _USER_ALONE.finditer(text):
            if looks_random(match.group(1), least_entropy=3.0):
                yield match.span(1)
    for match in _PARAMETER.finditer(text):
        value = match.group(1)
        before = text[max(match.start() - _LOOK_BACK_CHARS, 0) : match.start()].rpartition("\n")[2]
        name = _NAME_OF_PARAMETER.search(before, max(len(before) - 42, 0))
        if name is None or is_placeholder(value):
            continue
        if _SIGNATURE.fullmatch(name.group(1)):
            if looks_random(value, least_entropy=3.0) and "://" in before:
                yield match.span(1)
            continue
        if kind_of(name.group(1)) is Kind.NONE:
            continue
        in_connection_string = _CONNECTION_STRING.search(before)
        if looks_random(value, least_entropy=3.0) or (in_connection_string and looks_chosen(value)):
            yield match.span(1)
    for match in _CONNECTION_PASSWORD.finditer(text):
        before = text[max(match.start() - _LOOK_BACK_CHARS, 0) : match.start()].rpartition("\n")[2]
        value = match.group(1)
        if _CONNECTION_STRING.search(before) and looks_chosen(value) and not is_placeholder(value):
            yield match.span(1)


def _is_reference(password: str) -> bool:
    """Return whether a placeholder or variable stands in the place of a URL's password.

    A plain word counts as a password, unlike elsewhere: nothing but a password stands there.
    """
    lowered = password.lower()
    if (
        lowered in _OWN_PLACEHOLDERS
        or _EXAMPLE.search(lowered)
        or "://" in password
        or set(lowered) <= set("x*.-_")
    ):
        return True
    return password[0] in "$%{[(*" or any(part in password for part in ("${", "{{", "$(", "#{", "'+", "%s"))
