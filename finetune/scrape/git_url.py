"""Which URLs git may fetch from, and their credentials, which are kept apart from what is shown.

https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, file:///PATH or /PATH; http:// only on this machine.
No message of this module repeats a URL: a mistyped one may hold a token anywhere.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from acepilot.errors import ConfigError

PROTOCOLS = ("https", "http", "ssh", "file")
"""The protocols that git may use, also after a redirect or a rewrite of the URL by the user's settings."""
_FORMS = (
    "write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, file:///PATH or /PATH; the USER of ssh "
    "has up to 20 small letters, digits, `_`, `.` and `-`"
)
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][\w.-]*"  # no leading `-`: ssh would take it for an option
_AUTHORITY = re.compile(
    rf"(?:(?P<user>[^:@]+)(?::(?P<password>.*))?@)?(?P<host>{_HOST})(?P<port>:\d+)?", re.ASCII
)
# Shorter than a token: the user of an ssh URL is shown, and git and ssh print it.
_SSH_USER = r"[a-z_][a-z0-9_.-]{0,19}"
_SCP_LIKE = re.compile(rf"(?:{_SSH_USER}@)?(?:{_HOST}):(?P<path>[^-:@][^@]*)", re.ASCII)


@dataclass(frozen=True)
class Credentials:
    """User and password for the HTTP server at `site`, such as `https://git.example.com`."""

    site: str
    user: str
    password: str | None = field(repr=False)


def parse_git_url(text: str) -> tuple[str, Credentials | None]:
    """Return the URL without credentials, and the credentials.

    Raises ConfigError for what git may not fetch from: other protocols, remote helpers (`ext::`), options.
    """
    scheme, separator, _ = text.partition("://")
    if text.isprintable() and not separator and (text.startswith("/") or _SCP_LIKE.fullmatch(text)):
        return text, None
    scheme = scheme.lower()
    if not text.isprintable() or not separator or scheme not in PROTOCOLS:
        raise ConfigError(f"git does not fetch from such a URL here: {_FORMS}")
    parts = urlsplit(text)
    if scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise ConfigError("a file URL has three slashes: file:///PATH")
        return f"file://{text.partition('://')[2]}", None
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if authority is None or "@" in parts.path or parts.query or parts.fragment:
        raise ConfigError(
            "this git URL is ambiguous: in a password and a path, write %2F for /, %3F for ?, %23 for # and "
            "%40 for @. A token is written as https://USER:TOKEN@HOST/PATH"
        )
    user, password = authority["user"], authority["password"]
    host = authority["host"].lower() + (authority["port"] or "")
    if scheme == "ssh":
        if password is not None or (user and not re.fullmatch(_SSH_USER, user)):
            raise ConfigError(
                "ssh takes no password from a URL: leave it out, and use a key or an agent. Its user is an "
                "account such as git: write any other with `User` in ~/.ssh/config"
            )
        return f"ssh://{user}@{host}{parts.path}" if user else f"ssh://{host}{parts.path}", None
    if scheme == "http" and authority["host"] not in _THIS_MACHINE:
        raise ConfigError(
            "http is neither private nor safe from changes on the way: write https:// or ssh://"
        )
    site = f"{scheme}://{host}"
    if user is None:
        return site + parts.path, None
    credentials = Credentials(site, unquote(user), None if password is None else unquote(password))
    if not (credentials.user + (credentials.password or "")).isprintable():
        raise ConfigError("the user or the password in this git URL has control characters: remove them")
    return site + parts.path, credentials
