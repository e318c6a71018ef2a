"""Who sent a request, for all that must not be shared between clients.

An answer's time tells whether its text was in a cache. So the KV cache and the response cache are kept apart
by client. The queue's places are shared fairly among clients.
"""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.types import Scope

from server.engine.base import CLIENT_CHARS


@dataclass(frozen=True)
class Client:
    """A client as far as the server can tell: its `id` is a hash of the token and the address.

    `share` stands for the client where clients share something that is scarce. All addresses of an IPv6
    network (/64) are one there, because one user can have them all.
    """

    id: str

    @property
    def share(self) -> str:
        return self.id[:CLIENT_CHARS]

    def cache_salt(self, given: str | None) -> str:
        """Return the salt of the client's caches. A salt `given` in a request makes another one of it."""
        if not given:
            return self.id
        return self.share + hashlib.sha256(f"{self.id}\0{given}".encode()).hexdigest()[CLIENT_CHARS:]


def client_of(scope: Scope, token: SecretStr | None) -> Client:
    """Return the client of a request that had the right `token`.

    If a trusted proxy sent it, uvicorn has put in the address that the proxy names. A Unix socket has no
    address. Upstream servers get the id: it does not reveal the token, or without it the address.
    """
    secret = token.get_secret_value() if token else ""
    of_network, of_host = (
        hmac.digest(secret.encode(), name.encode(), "sha256").hex()
        for name in (network_of(scope), _host(scope))
    )
    return Client(of_network[:CLIENT_CHARS] + of_host[CLIENT_CHARS:])


def network_of(scope: Scope) -> str:
    """Return the address that a request came from; of an IPv6 address its network (/64)."""
    host = _host(scope)
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a Unix socket
        return host
    if address.version == 4 or address.ipv4_mapped:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))


def _host(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""
