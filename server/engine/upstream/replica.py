"""One upstream server: checks its health, finds out which model it serves, and sends it requests."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx

from acepilot.errors import ConfigError
from acepilot.http_answers import DEFAULT_MAX_BYTES, AnswerTooLarge, limit_answers, no_cookies
from acepilot.untrusted_text import printable
from server.engine.upstream.protocol import BadAnswer, Served, error_names, served_model

CONNECT_TIMEOUT_S = 2.0
"""Seconds to connect: long within one's own network, short for a user while another replica is available."""

IDLE_CONNECTIONS = 64
"""Connections kept open for later requests, for all replicas together."""

NO_SUCH_PAGE = (404, 405, 501)
NO_ENTRY = (401, 403)
BUSY = 429
NOT_THERE = (502, 503, 504)
"""Status codes of a proxy whose server is down, and of a server whose model is still loading."""


@dataclass(frozen=True)
class TimeLimits:
    """Times in seconds.

    - `first_token` includes the server's queue and the prompt. It is long for the queue of an evaluation;
      editors cancel much earlier.
    - `next_token` is the longest gap between tokens.
    - `health` limits a health check. A replica that does not answer in time still counts as healthy if it
      sent a token within `token_proves_health`.
    - A health check follows the last one after `check_healthy`, or `check_down` for a replica that is down.
    """

    first_token: float = 120.0
    next_token: float = 30.0
    health: float = 5.0
    token_proves_health: float = 10.0
    check_healthy: float = 5.0
    check_down: float = 1.0


_T = TypeVar("_T")

Body = Callable[[Served], dict[str, object]]
Read = Callable[[httpx.Response], AsyncGenerator[_T, None]]


class RequestFailed(Exception):
    """A request failed. The text continues a sentence that begins with the server's address.

    `retryable`: nothing was received, and another replica may do better. `busy`: the server's queue is full.
    """

    def __init__(self, reason: str, *, retryable: bool, busy: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable
        self.busy = busy


def make_client(token: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS),
        verify=ssl.create_default_context(),  # the system's certificates: a company has its own
        event_hooks=limit_answers(),
        cookies=no_cookies(),
        trust_env=False,  # machines inside a company must not be reached through its proxy
    )


class Replica:
    """The server at `url`, which has no `/v1`; `model` is our name for the model that it serves.

    `served` is None until the server has answered. `trouble` says what is wrong, and is empty while the
    server is healthy. `active` requests are in flight; `given` counts all requests.
    """

    def __init__(self, url: str, model: str, client: httpx.AsyncClient, limits: TimeLimits) -> None:
        self.url = url
        self.served: Served | None = None
        self.trouble = "was not asked yet"
        self.active = 0
        self.given = 0
        self.check_now = asyncio.Event()
        self._model = model
        self._client = client
        self._limits = limits
        self._last_token_at = -limits.token_proves_health

    async def check(self) -> None:
        """Update `served` and `trouble`. Raises ConfigError for a problem that waiting does not solve."""
        try:
            async with asyncio.timeout(self._limits.health):
                self.served = await self._ask_what_is_served()
        except ConfigError as error:
            self.trouble = error.message
            raise
        except BadAnswer as error:
            self.trouble = str(error)
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            if self._last_token_at + self._limits.token_proves_health < now:
                self.trouble = f"did not answer within {self._limits.health:.0f} s"
        except httpx.HTTPError as error:
            self.trouble = _described(error)
        else:
            self.trouble = ""

    async def _ask_what_is_served(self) -> Served:
        health = await self._client.get(f"{self.url}/health")
        if not health.is_success and health.status_code not in NO_SUCH_PAGE:
            raise BadAnswer(f"answers {health.status_code} at /health")
        models = await self._client.get(f"{self.url}/v1/models")
        if models.status_code in NO_ENTRY:
            raise ConfigError(
                f"{self.url} answers {models.status_code}: it requires a token, or a different one. Set "
                "ACEPILOT_UPSTREAM_TOKEN."
            )
        if not models.is_success:
            raise BadAnswer(f"answers {models.status_code} at /v1/models")
        served = served_model(models.content, self._model, self.url)
        if self.served and served.name != self.served.name:
            raise BadAnswer(
                f"served model {printable(self.served.name)} before and serves {printable(served.name)} now; "
                "if that is intended, restart Acepilot"
            )
        return served

    async def request(self, body: Body, read: Read[_T], send: Callable[[_T], None]) -> None:
        """Send a request, and call `send` with each item that `read` finds in the answer.

        Cancelling it closes the connection. Raises RequestFailed.
        """
        assert self.served  # noqa: S101 - only a replica that has answered gets requests
        now = asyncio.get_running_loop().time
        received = False
        self.active += 1
        self.given += 1
        try:
            async with (
                asyncio.timeout(self._limits.first_token) as deadline,
                self._client.stream("POST", f"{self.url}/v1/completions", json=body(self.served)) as response,
                contextlib.aclosing(read(response)) as items,
            ):
                if not response.is_success:
                    raise self._refusal(response.status_code, await response.aread())
                async for item in items:
                    received = True
                    self._last_token_at = now()
                    deadline.reschedule(now() + self._limits.next_token)
                    send(item)
        except BadAnswer as error:
            raise RequestFailed(str(error), retryable=not received) from error
        except TimeoutError as error:
            self.check_now.set()
            raise RequestFailed("gave no token for too long", retryable=False) from error
        except httpx.HTTPError as error:
            if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
                self.trouble = _described(error)
            self.check_now.set()
            raise RequestFailed(_described(error), retryable=not received) from error
        finally:
            self.active -= 1

    def _refusal(self, status: int, answer: bytes) -> RequestFailed:
        if status in NOT_THERE:
            self.trouble = f"answers {status}"
            self.check_now.set()
        if status in NO_ENTRY:
            return RequestFailed(f"answers {status}: set ACEPILOT_UPSTREAM_TOKEN", retryable=False)
        reason = f"answers {status}{error_names(answer)}"
        return RequestFailed(reason, retryable=status >= 500 or status == BUSY, busy=status == BUSY)


def _described(error: httpx.HTTPError) -> str:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return "cannot be reached"
    if isinstance(error, AnswerTooLarge):
        return f"sends over {DEFAULT_MAX_BYTES // 1_000_000} MB in one answer, or compressed data"
    return f"broke the connection ({type(error).__name__})"
