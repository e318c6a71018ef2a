"""Names under which programs keep secrets: `dbPassword`, `SECRET_KEY`, `X-Api-Key`."""

import re
from enum import Enum, auto

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PASSWORD_WORDS = _set_of(
    "password passwd pwd passphrase pass pw passcode psw pswd psk requirepass masterauth"
    " passwort kennwort senha contrasena wachtwoord haslo mdp"
)
_SECRET_WORDS = _set_of(
    "secret secrets token tokens auth credential credentials creds apikey authtoken pat mnemonic seed"
    " bearer jwt pepper dockerconfigjson"
)
_KEY_OWNERS = _set_of(
    "api access secret private auth signing encryption account license master storage subscription client"
    " service admin webhook app jwt hmac cookie session crypt aes write deploy maps shared preshared"
    " decryption validation server root ssh ssl tls rsa current function functions host cipher recovery"
)
_ENDINGS_OF_LOWERCASE_NAMES = ("password", "passwd", "passphrase", "pwd", "pswd")
_LOWERCASE_PASSWORD = re.compile(
    r"(?:db|root|user|admin|smtp|imap|mail|ftp|ssh|sql|pg|my|redis|ldap|login|become|store|key|http|proxy|ssl|bind)"
    r"(?:pass|pw)"
)
_SECRET_ENDINGS_OF_LOWERCASE_NAMES = (
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "authkey",
)
_OWNERS_OF_OTHER_TOKENS = frozenset(
    [
        "next",
        "page",
        "pagination",
        "continuation",
        "sync",
        "request",
        "client",
        "cancel",
        "design",
        "public",
        "change",
        "action",
    ]
)
_SETTERS = frozenset({"set", "with", "put", "add", "use", "new"})
_TRAILERS = _set_of(
    "hex base value raw plain default test dev prod hash str string data live production staging text"
)
"""Words behind the one that matters: `secretKeyBase`, `API_KEY_DEV`."""

_MENTION = re.compile(
    r"pass|pwd|secret|token|key|cred|auth|mnemonic|seed|_pat|pw\b|identified|wallet|login"
    r"|connect|mysqli|convertto-secure|jwt|hmac|psw|psk|bearer|pepper|kennwort|senha|contrasena|wachtwoord|haslo|mdp"
)
"""Every name of a secret has one of these, in lower case."""

_IN_NAMES = re.compile(
    r"password|passwd|pwd|secret|token|api_?key|auth_?key|private_?key|access_?key|credential", re.IGNORECASE
)


def mentions_in(text: str) -> list[int]:
    """Return where words stand that are a part of a secret's name, in order."""
    # Not text.lower(), which is longer than the text for some letters.
    lowered = text.encode("ascii", "replace").lower().decode("ascii")
    return [match.start() for match in _MENTION.finditer(lowered)]


def is_mentioned(name: str) -> bool:
    """Return whether a name has something to do with a secret, as `tokenOfShop` has."""
    return _IN_NAMES.search(name) is not None and not _is_of_another_kind(_words_of(name))


class Kind(Enum):
    """What a name says of its value: a person may have chosen it, a machine drew it, or it is public."""

    PASSWORD = auto()
    SECRET = auto()
    NONE = auto()


def kind_of(name: str) -> Kind:
    """Return what the last words of a name say."""
    words = _words_of(name)
    while len(words) > 1 and words[-1] in _TRAILERS:
        words.pop()
    if not words:
        return Kind.NONE
    last = words[-1]
    if (
        last in _PASSWORD_WORDS
        or last.endswith(_ENDINGS_OF_LOWERCASE_NAMES)
        or _LOWERCASE_PASSWORD.fullmatch(last)
    ):
        return Kind.PASSWORD
    if _is_of_another_kind(words):
        return Kind.NONE
    if last in _SECRET_WORDS or last.endswith(_SECRET_ENDINGS_OF_LOWERCASE_NAMES):
        return Kind.SECRET
    if last in ("key", "keys") and len(words) > 1 and words[-2] in _KEY_OWNERS:
        return Kind.SECRET
    return Kind.NONE


def takes_a_secret(function: str) -> bool:
    """Return whether a function is given a secret: `setPassword` and `password`, but not `getPassword`."""
    first = _WORDS.findall(function.rpartition(".")[2])[:1]
    return bool(first) and (first[0].lower() in _SETTERS or kind_of(first[0]) is not Kind.NONE)


def _words_of(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _is_of_another_kind(words: list[str]) -> bool:
    """Return whether a token only continues a list or a request, or belongs to a public key."""
    if words[-3:-1] == ["public", "key"] or words[-2:] == ["public", "key"]:
        return True
    return len(words) > 1 and words[-1] == "token" and words[-2] in _OWNERS_OF_OTHER_TOKENS
