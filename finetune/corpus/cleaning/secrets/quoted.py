"""Secrets in quotes: what stands before the quote says whether the string is one, or its entropy does."""

import re
from bisect import bisect_left
from itertools import chain

from finetune.corpus.cleaning.secrets.names import Kind, is_mentioned, kind_of, takes_a_secret
from finetune.corpus.cleaning.secrets.values import Spans, entropy, is_placeholder, looks_chosen, looks_random

_QUOTED = re.compile(r"([\"'`])([^\"'`\s\\]{4,300})\1")
_RANDOM = re.compile(r"[A-Za-z0-9+/=_-]{20,200}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_BASE64_ENTROPY, _HEX_ENTROPY = 4.5, 3.0  # bits a character: detect-secrets' own limits
_NAMED_ENTROPY = 2.8  # bits a character: a hex value of 10 characters may have as little

_NAME = r"(?P<name>[A-Za-z_$@][\w$.-]{0,63})"
_ASSIGNED = re.compile(
    rf"(?<![\w$.-]){_NAME}[\"'`]?(?:\[\d{{0,4}}\])?\]?"
    r"(?:\s?\??:\s?&?(?:'static )?[\w.<>\[\]|?]{1,30}| string| String)?"  # a type
    r"\s{0,16}(?:=>|:=|\?=|\|\|=|\?\?=|(?<![=!<>])=|:|\|\||\?\?|\bor|<-|\()\s{0,16}[bBrRuUfF@$L]?\Z"
)
_SECOND_ARGUMENT = re.compile(rf"[\w.]\(\s{{0,16}}[\"']{_NAME}[\"']\s?,\s{{0,16}}\Z")
_NAME_AND_VALUE = re.compile(
    rf"\bname[\"']?\s?[=:]\s?[\"']?{_NAME}[\"']?,?\s{{1,40}}[\"']?value[\"']?\s?[=:]\s?\Z", re.IGNORECASE
)
_PASSWORD_COMES = re.compile(
    r"(?:PASSWORD|IDENTIFIED BY|ConvertTo-SecureString(?: -String)?)\s{1,3}\Z"
    r"|\b(?:auth\s?=\s?|login|authenticate|getConnection|BasicAuth\w{0,20}|Credentials?|UsernamePassword\w{0,30})"
    r"\(\s?(?:[\"'][^\"'\n]{1,80}[\"']\s?,\s?){1,2}\Z"
)
_SECRET_COMES = re.compile(
    r"(?:Wallet|privateKeyToAccount|fromPrivateKey|SigningKey)\(\s{0,16}\Z"
    r"|(?:jwt\.\w{2,10}|createHmac|hmac\.new)\([^()\n]{1,80},\s?b?\Z"
)
_SUFFIX_OF_HALF = re.compile(r"[\"'`]\s{0,40}[+.\\]?\s{0,40}")
_MOST_NAMELESS = 3
"""Different random strings without a name. More of them are a table of hashes, test vectors or ids."""
_HASH_OR_ID = re.compile(
    r"hash|\bsha|\b[exyn][\"']?\s?:|x5t|digest|checksum|integrity|commit|githead|revision|md5|etag|fingerprint|signature|id(?:hex)?\b|uuid|guid"
    r"|placeholder|next|page|cursor|address|public|version|content|vector|nonce|salt",
    re.IGNORECASE,
)
_HASH_CHARS = 40  # how far before a string such a word stands
_OBJECT_KEY = re.compile(r"\??\]?\s?:")
_LOOK_BACK_CHARS = 130  # two names of 64 characters
_CONNECTION = re.compile(
    r"\b(?:db_?)?(?:host(?:name)?|server|address|addr|database|db_?name|user(?:name)?|login)[\"']?\s{0,4}"
    r"(?:=>|[:=])\s{0,4}[\"']",
    re.IGNORECASE,
)
_CONNECTION_CHARS = 160  # how far from a password its host or user stands
_PHRASE = re.compile(
    r"(?:mnemonic|seed|phrase|wallet)\w{0,20}[\"']?\s{0,4}(?::\s?\w{1,20}\s?)?[:=(]\s{0,4}[\"'`]?"
    r"((?:[a-z]{3,9}[ ,]{1,2}){11,23}[a-z]{3,9})\b",
    re.IGNORECASE,
)
_PHRASE_WORDS = ("nemonic", "NEMONIC", "eed", "EED", "hrase", "HRASE", "allet", "ALLET")
_LEAST_WORDS = 8  # different ones: test networks use one word twelve times


def find_quoted(text: str, mentions: list[int]) -> Spans:
    """Yield the spans of quoted secrets, without their quotes. `mentions` is of `mentions_in`."""
    previous_end = -1
    nameless: dict[str, list[tuple[int, int]]] = {}
    for match in _QUOTED.finditer(text):
        value = match.group(2)
        start = match.start()
        near = bisect_left(mentions, start - _LOOK_BACK_CHARS) < bisect_left(mentions, start)
        if (near and _is_named(text, start, match.end(), value)) or (
            _continues(text, previous_end, start) and looks_random(value, _NAMED_ENTROPY)
        ):
            previous_end = match.end(2)
            yield match.span(2)
        elif _is_random(value) and not _is_hash_or_key(text, start, match.end()):
            nameless.setdefault(value, []).append(match.span(2))
            previous_end = match.end(2)
    if len(nameless) <= _MOST_NAMELESS:
        yield from chain.from_iterable(nameless.values())
    if not any(word in text for word in _PHRASE_WORDS):
        return
    for match in _PHRASE.finditer(text):
        if len(set(match.group(1).split())) >= _LEAST_WORDS:
            yield match.span(1)


def _continues(text: str, previous_end: int, start: int) -> bool:
    """Return whether a string is joined to a secret before it."""
    return 0 <= start - previous_end < 90 and _SUFFIX_OF_HALF.fullmatch(text, previous_end, start) is not None


def _is_named(text: str, start: int, end: int, value: str) -> bool:
    before = text[max(start - _LOOK_BACK_CHARS, 0) : start]
    name = ""
    if _PASSWORD_COMES.search(before):
        kind = Kind.PASSWORD
    elif _SECRET_COMES.search(before):
        kind = Kind.SECRET
    elif match := (
        _NAME_AND_VALUE.search(before) or _ASSIGNED.search(before) or _SECOND_ARGUMENT.search(before)
    ):
        name = match["name"]
        kind = kind_of(name)
        if before.rstrip().endswith("(") and not takes_a_secret(name):
            return False
    else:
        return False
    if is_placeholder(value) or value.lower() == name.lower():
        return False
    if kind is Kind.PASSWORD:
        if looks_chosen(value):
            return True
        around = text[max(start - _CONNECTION_CHARS, 0) : end + _CONNECTION_CHARS]
        return value.isalpha() and value.islower() and _CONNECTION.search(around) is not None
    mentions = kind is Kind.SECRET or is_mentioned(name)
    return mentions and len(value) >= 8 and looks_random(value, _NAMED_ENTROPY)


def _is_random(value: str) -> bool:
    if not _RANDOM.fullmatch(value) or "EXAMPLE" in value:
        return False
    limit = _HEX_ENTROPY if _HEX.fullmatch(value) else _BASE64_ENTROPY
    return looks_random(value, limit) and entropy(value) > limit


def _is_hash_or_key(text: str, start: int, end: int) -> bool:
    """Return whether a random string is called a hash or an id, or is the key of an object."""
    before = text[max(start - _HASH_CHARS, 0) : start]
    return _HASH_OR_ID.search(before) is not None or _OBJECT_KEY.match(text, end) is not None
