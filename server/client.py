"""Who sent a request, for all that must not be shared between clients.

An answer's time tells whether its text was in a cache. So the KV cache and the response cache are kept apart
by client. The queue's places are shared fairly among clients.
"""

import hashlib
import hmac
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.types import Scope


@dataclass(frozen=True)
class Client:
    """A client as far as the server can tell: its `id` is a hash of the token and the address."""

    id: str

    def cache_salt(self, given: str | None) -> str:
        """Return the salt of the client's caches. A salt `given` in a request makes another one of it."""
        return hashlib.sha256(f"{self.id}\0{given}".encode()).hexdigest() if given else self.id


def client_of(scope: Scope, token: SecretStr | None) -> Client:
    """Return the client of a request that had the right `token`.

    If a trusted proxy sent it, uvicorn has put in the address that the proxy names. A Unix socket has no
    address. Upstream servers get the id: it does not reveal the token, or without it the address.
    """
    host = scope["client"][0] if scope.get("client") else ""
    secret = token.get_secret_value() if token else ""
    return Client(hmac.digest(secret.encode(), host.encode(), "sha256").hex())
