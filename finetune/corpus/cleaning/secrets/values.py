"""What a secret's value looks like, and what stands in its place in examples, labels and code."""

import re
from collections.abc import Iterator
from itertools import pairwise

from detect_secrets.filters.heuristic import (
    is_not_alphanumeric_string,
    is_potential_uuid,
    is_sequential_string,
    is_templated_secret,
)
from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString

Spans = Iterator[tuple[int, int]]
"""Places of secrets in a text: start and end, in characters."""

_LONGEST_WORDY_VALUE = 28
"""Characters. In a longer random value, a word of four letters may stand by chance."""
_PLACEHOLDER_WORDS = re.compile(
    r"example|sample|dummy|place.?holder|change|replace|todo|fixme|redacted|insert|enter|hidden"
    r"|passw|p[a@][s5$]{2}w|passphrase|secret|s3cr3t|token|apikey|api[_-]key|access[_-]?key|filtered|credential|private|default|undefined"
    r"|string|required|optional|invalid|unused|ignored|abcd|qwert|1234|xxx"
    r"|(?<![a-z])(?:fake|mock|test|demo|your|valid|must|foo|bar)"
)
_PLACEHOLDERS = re.compile(
    r"(?:null|none|nil|true|false|yes|no|pass|pwd|pw|auto|text|value|user(?:name)?|admin|root|postgres|mysql"
    r"|guest|key|any|void|never|number|object|self|this|baz|abc|xyz|md5|sha\d*|base64|utf-?8\w*|latin\d|ascii|iso\S*|str|int|bool|u?int\d+\w*|\d+-b(?:it|yte)s?|\d+/[smhd]/.*|float\d+\w*"
    r"|optional|bytes|bearer|basic|plain|hash|salt|hmac\w*|rs256|hs256|oauth2?|v\d+|x+|\W*)\W*",
)
_REFERENCES = (
    "${",
    "$(",
    "{{",
    "<%",
    "#{",
    "\\u",
    "process.env",
    "os.environ",
    "%(",
    "://",
    "[[",
    "@{",
    "UUID=",
)
_STARTS_OF_REFERENCES = ("$", "<", "{", "[", "(", "/", "./", "../", "~/", "%s", ",")
_WORD = re.compile(r"[A-Z][a-z]{2,}|[a-z]{3,}|[A-Z]{3,}(?![a-z])")
_NON_WORD = re.compile(r"[!#%^&*+?@=~;,]")
_DIGIT_OR_MARK = re.compile(rf"\d|{_NON_WORD.pattern}")
_LONG_ENOUGH_WITHOUT_DIGITS = (
    16  # characters; of random ones, one value in 25 of this length has less than 2 digits
)
_MOST_WORDS, _MOST_WORDS_WITHOUT_DIGITS = 0.75, 0.6  # of the characters; names are nearly all words
_VOWEL = re.compile(r"[aeiouyAEIOUY]")
_MOST_MARKS_OF_CODE = 2  # in minified code, a closing quote and the next opening one enclose a statement
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LEAST_ENTROPY_OF_UUID = 3.0  # bits a character; one made by hand repeats its digits
_ENTROPY = Base64HighEntropyString()


def is_placeholder(value: str) -> bool:
    """Return whether a value given for a password is an example, a reference, a type, a path or a label."""
    value = value.removeprefix("{noop}")  # Spring's mark of a password in plain text
    if value.startswith(_STARTS_OF_REFERENCES) or any(part in value for part in _REFERENCES):
        return True
    if (
        _DATE.fullmatch(value)
        or not value.isascii()
        or len(set(value)) < 3
        or "EXAMPLE" in value
        or "aws4_request" in value
        or "..." in value
    ):
        return True
    if ("{" in value and "}" in value) or sum(value.count(mark) for mark in "();") > _MOST_MARKS_OF_CODE:
        return True
    lowered = value.lower()
    if _PLACEHOLDERS.fullmatch(lowered):
        return True
    return len(value) <= _LONGEST_WORDY_VALUE and _PLACEHOLDER_WORDS.search(lowered) is not None


def is_masked(value: str) -> bool:
    """Return whether a value with the form of a token was made by hand, such as `ghp_xxxxxxxx`."""
    lowered = value.lower()
    if not any(map(str.isdigit, value)) and value == lowered:
        return True
    return len(set(value)) < 8 or any(
        part in lowered for part in ("xxxx", "0000000", "1234567", "abcdef", "example")
    )


def may_be_secret(value: str) -> bool:
    """Return False if neither `looks_chosen` nor `looks_random` can hold; this takes less time."""
    return len(value) >= _LONG_ENOUGH_WITHOUT_DIGITS or _DIGIT_OR_MARK.search(value) is not None


def looks_chosen(value: str) -> bool:
    """Return whether a value could be a password that a person chose: not only one word or an identifier."""
    if any(map(str.isdigit, value)):
        return any(map(str.isalpha, value)) or len(value) >= 6
    return _NON_WORD.search(value) is not None and any(map(str.isalpha, value))


def is_uuid(value: str) -> bool:
    """Return whether a value is a random UUID (version 4), as the keys of Heroku and Postmark are."""
    return _UUID.fullmatch(value) is not None and entropy(value) > _LEAST_ENTROPY_OF_UUID


def looks_random(value: str, least_entropy: float, most_words: float = _MOST_WORDS) -> bool:
    """Return False for names, paths, alphabets, templates and UUIDs. The entropy is in bits a character."""
    digits, letters = sum(map(str.isdigit, value)), sum(map(str.isalpha, value))
    if letters < 2 or _DATE.match(value) or (digits < 2 and not _is_mixed(value)):
        return False
    if (
        "/" in value[:2]
        or value.startswith(("data:", "arn:"))
        or any(part in value for part in ("${", "{{", "\\u"))
    ):
        return False
    false_alarms = (is_templated_secret, is_sequential_string, is_not_alphanumeric_string, is_potential_uuid)
    if any(is_false(value) for is_false in false_alarms) or _is_alphabet(value):
        return False
    words = (word for word in _WORD.findall(value) if _VOWEL.search(word))
    if not digits:
        most_words = _MOST_WORDS_WITHOUT_DIGITS
    if sum(map(len, words)) > most_words * len(value):  # camelCase, kebab-case and paths are words
        return False
    return entropy(value) > least_entropy


def _is_mixed(value: str) -> bool:
    """Return whether capitals stand among the letters as in no name: `HTgLlHysICFzyyZMtA`."""
    changes = sum(before.islower() != after.islower() for before, after in pairwise(value))
    return len(value) >= _LONG_ENOUGH_WITHOUT_DIGITS and changes > 0.25 * len(value)


def entropy(value: str) -> float:
    """Return the Shannon entropy of a value as detect-secrets reckons it, in bits a character."""
    return _ENTROPY.calculate_shannon_entropy(value)


def _is_alphabet(value: str) -> bool:
    """Return whether more than half of the characters follow their predecessor, as in a character table."""
    return (
        "0123456789" in value
        or sum(ord(after) - ord(before) == 1 for before, after in pairwise(value)) > len(value) // 2
    )
