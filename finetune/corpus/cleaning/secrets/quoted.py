"""Secrets in quotes: what stands before the quote says whether the string is one, or its entropy does."""

import re
from bisect import bisect_left
from itertools import chain

from finetune.corpus.cleaning.secrets.names import Kind, is_mentioned, kind_of, takes_a_secret
from finetune.corpus.cleaning.secrets.values import (
    Spans,
    entropy,
    is_placeholder,
    is_uuid,
    looks_chosen,
    looks_random,
    may_be_secret,
)

_QUOTED = re.compile(r"([\"'`])([^\"'`\s\\]{4,300})\\{0,3}\1")
_QUOTED_IN_XML = re.compile(r"&(quot|#3[49]|apos);([^\"'`\s\\&;]{4,300})&\1;")
_RANDOM = re.compile(r"[A-Za-z0-9+/=_-]{20,200}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_MOST_WORDS_OF_NAMELESS = 0.6  # of the characters
_BASE64_ENTROPY, _HEX_ENTROPY = 4.5, 3.0  # bits a character: detect-secrets' own limits
_NAMED_ENTROPY = 2.8  # bits a character: a hex value of 10 characters may have as little

_NAME = r"(?P<name>[A-Za-z_$@][\w$.-]{0,63})"
_ASSIGNED = re.compile(
    rf"(?:(?<![\w$.-])|(?<=[)\s]\.)){_NAME}(?:\\{{0,3}}[\"'`]|&(?:quot|#3[49]|apos);)?(?:\[\w{{0,20}}\])?[\])]{{0,2}}"
    r"(?:\s?\??:\s?&?(?:'static )?[\w.<>\[\]|?]{1,30}| string| String| As String)?"  # a type
    r"(?:\s{0,16}"
    r"(?:(?<!\) )(?<!\))=>|:=|\?=|\|\|=|\?\?=|(?<![=!<>])=|:|\|\||\?\?|\?:|\b(?:or|is|was|to)\b|<-|\(|\{"
    r"|\.(?:unwrap_or|or_?[eE]lse|get_?[oO]r_?[eE]lse)\()\s{0,16}"
    r"(?P<wrapper>[A-Za-z][\w.:]{0,60}\()?|(?<=\w)[ \t]{1,16})"
    r"[bBrRuUfFNL@$]{0,2}\\{0,3}\Z"
)
_PAIR = re.compile(
    rf"(?P<before>[(,]\s{{0,16}}[\"']|\{{\s{{0,4}}[\"':]?){_NAME}[\"']?\s?,\s{{0,16}}[bNL@]?\Z"
)
"""A name and its value side by side: a call's arguments, a tuple, a row of SQL."""
_END_OF_ROW = re.compile(r"\s{0,16}[)}]")
_VALUE_COMES = re.compile(r"\b(?:value|default|content)[\"']?\s{0,4}[=:]\s{0,4}\Z", re.IGNORECASE)
_NAMED_BEFORE = re.compile(
    rf"(?:\b(?:name|key|variable|parameter)\b|argument|option)[\"']?[\s=:(]{{1,4}}[\"']?-{{0,2}}{_NAME}",
    re.IGNORECASE,
)
_NAMED_BEHIND = re.compile(
    rf"(?:,?\s{{0,40}}[\"']?\b(?:name|key)[\"']?\s?[=:]|\s(?:forKey|for|key):)\s?@?[\"']{_NAME}",
    re.IGNORECASE,
)
_PASSWORD_NEAR = re.compile(r"(?i:pass|pwd|pw\b)")
_CALLED = re.compile(r"\(\s{0,16}[bBrRuUfFNL@$]{0,2}\Z")
_SHORTEST_WRAPPED = 16  # characters: a call with a shorter string looks up a name
_VERBS = ("pass", "seed", "auth")  # in prose: "pass `value1` to it"
_NAMED_BEHIND_CHARS = 120
_ARGUMENT = r"(?:[\"'][^\"'\n]{0,80}[\"']|[\w$.]{1,40})\s?,\s?"
_PASSWORD_COMES = re.compile(
    r"(?i:password|identified (?:with [\w\"'`]{1,40} )?by|ConvertTo-SecureString(?: -String)?"
    r"|set password [^\n=]{1,60}=)\s{1,3}N?\Z|\bPASSWORD\(\Z"
    rf"|(?:\bauth[\"']?\s?[:=]\s?[\[(]|(?:\blogin|authenticate|BasicAuth\w{{0,20}}|Credentials?|Authentication"
    rf"|UsernamePassword\w{{0,30}})\()\s?{_ARGUMENT}\Z"
    rf"|(?:[cC]onnect\w{{0,20}}|mysqli|PDO|[cC]onnection)\(\s?(?:{_ARGUMENT}){{2,3}}\Z"
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
    r"|placeholder|next|page|cursor|address|public|\bpk\b|sample|example|version|content|vector|nonce|salt",
    re.IGNORECASE,
)
_PUBLIC_KEY = re.compile(r"B[\w-]{86}")  # of the curve P-256, as VAPID has it
_LONG_LINE_CHARS = 1_000  # the corpus keeps no longer lines: they are minified code and packed tables
_LONG_VALUE_CHARS, _LEAST_DIGITS = 48, 1 / 12
"""Of a long random value in base64, one character in 6 is a digit; packed word lists have fewer."""
_FIRST_ITEM = re.compile(r"\[\s{0,40}\Z")
_HASH_CHARS = 40  # how far before a string such a word stands
_OBJECT_KEY = re.compile(r"\??\]?\s?:")
_LOOK_BACK_CHARS = 160  # two names of 64 characters
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
    strings = _QUOTED.finditer(text)
    for match in chain(strings, _QUOTED_IN_XML.finditer(text)) if "&" in text else strings:
        value = match.group(2)
        start = match.start()
        near = bisect_left(mentions, start - _LOOK_BACK_CHARS) < bisect_left(mentions, start)
        if (near and _is_named(text, start, match.end(), value)) or (
            _continues(text, previous_end, start) and looks_random(value, _NAMED_ENTROPY)
        ):
            previous_end = match.end(2)
            yield match.span(2)
        elif _is_random(value) and not _is_hash_or_key(text, start, match.end()):
            places = nameless.setdefault(value, [])
            if not _FIRST_ITEM.search(text, max(start - _HASH_CHARS, 0), start):
                places.append(match.span(2))
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
    plain_word = value.isalpha() and value.islower()
    if not (may_be_secret(value) or (plain_word and _PASSWORD_NEAR.search(text, max(start - 30, 0), start))):
        return False
    before = text[max(start - _LOOK_BACK_CHARS, 0) : start]
    name = ""
    if _PASSWORD_COMES.search(before):
        kind = Kind.PASSWORD
    elif _SECRET_COMES.search(before):
        kind = Kind.SECRET
    elif match := (_name_beside(text, before, end) or _ASSIGNED.search(before) or _PAIR.search(before)):
        name = match["name"]
        kind = kind_of(name)
        if match.re is _PAIR and not _is_pair(match, kind, text, end):
            return False
        wrapped = match.re is _ASSIGNED and match["wrapper"]
        if wrapped and kind is not Kind.PASSWORD and len(value) < _SHORTEST_WRAPPED:
            return False
        if _CALLED.search(before) and not wrapped and not takes_a_secret(name):
            return False
        if name.lower() in _VERBS and before.endswith(f"{name} "):
            return False
    else:
        return False
    if is_placeholder(value) or value.lower() == name.lower():
        return False
    if kind is Kind.PASSWORD:
        if looks_chosen(value):
            return True
        around = text[max(start - _CONNECTION_CHARS, 0) : end + _CONNECTION_CHARS]
        return plain_word and _CONNECTION.search(around) is not None
    mentions = kind is Kind.SECRET or is_mentioned(name)
    return mentions and len(value) >= 8 and (looks_random(value, _NAMED_ENTROPY) or is_uuid(value))


def _is_pair(match: re.Match[str], kind: Kind, text: str, end: int) -> bool:
    """Return whether a name and a string are a pair, and not two items of a list."""
    if kind is Kind.NONE or match["name"].lower() in _VERBS:
        return False
    return match["before"][0] == "(" or _END_OF_ROW.match(text, end) is not None


def _name_beside(text: str, before: str, end: int) -> re.Match[str] | None:
    """Return the match of a name that a mapping gives in another entry: `name: "DB_PASS", value: "..."`."""
    if not _VALUE_COMES.search(before):
        return None
    names = list(_NAMED_BEFORE.finditer(before))
    return names[-1] if names else _NAMED_BEHIND.match(text, end, end + _NAMED_BEHIND_CHARS)


def _is_random(value: str) -> bool:
    if not _RANDOM.fullmatch(value) or "example" in value.lower() or _PUBLIC_KEY.fullmatch(value):
        return False
    if len(value) > _LONG_VALUE_CHARS and sum(map(str.isdigit, value)) < len(value) * _LEAST_DIGITS:
        return False
    limit = _HEX_ENTROPY if _HEX.fullmatch(value) else _BASE64_ENTROPY
    return looks_random(value, limit, most_words=_MOST_WORDS_OF_NAMELESS) and entropy(value) > limit


def _is_hash_or_key(text: str, start: int, end: int) -> bool:
    """Return whether a random string is called a hash or an id, is a key, or stands in packed data."""
    before = text[max(start - _HASH_CHARS, 0) : start]
    if _HASH_OR_ID.search(before) or _OBJECT_KEY.match(text, end):
        return True
    return "\n" not in text[max(start - _LONG_LINE_CHARS, 0) : end + _LONG_LINE_CHARS] and (
        len(text) > _LONG_LINE_CHARS
    )
