"""One upstream server: is it well, what does it serve, and a request to it; for replicas.py."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import httpx

from acepilot.errors import ConfigError
from server.engine.upstream.protocol import BadAnswer, Served, error_names, served_model

CONNECT_TIMEOUT_S = 2.0
"""Long for a network of one's own; another replica may answer at once."""

FIRST_TOKEN_TIMEOUT_S = 120.0
"""For the other side's queue and the prompt. Editors leave much earlier; an evaluation's queue is long."""

NEXT_TOKEN_TIMEOUT_S = 30.0
HEALTH_TIMEOUT_S = 5.0
HEARD_OF_S = 10.0
"""A server that is too busy to say how it is, and has sent a token so lately, is well."""

IDLE_CONNECTIONS = 64

NO_SUCH_PAGE = (404, 405, 501)
NO_ENTRY = (401, 403)
BUSY = 429
NOT_THERE = (502, 503, 504)
"""What a proxy says of a server that is down, and a server of a model that is still loading."""

_T = TypeVar("_T")

Body = Callable[[Served], dict[str, object]]
Read = Callable[[httpx.Response], AsyncGenerator[_T, None]]


class RequestFailed(Exception):
    """`elsewhere`: another replica may do better. `busy`: this one refused for its queue. The text goes on
    from the server's address."""

    def __init__(self, why: str, *, elsewhere: bool, busy: bool = False) -> None:
        super().__init__(why)
        self.elsewhere = elsewhere
        self.busy = busy


def make_client(token: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS),
        verify=ssl.create_default_context(),  # the system's certificates: a company has its own
        trust_env=False,  # a company's proxy must not be asked for machines inside
    )


class Replica:
    """The server at `url`, which ends before `/v1`; `model` is our name for what it serves.

    `served` is None until it answered for the first time; `trouble` is empty while it is well. `active`
    requests are in flight, `given` were ever sent.
    """

    def __init__(self, url: str, model: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.served: Served | None = None
        self.trouble = "was not asked yet"
        self.active = 0
        self.given = 0
        self.check_now = asyncio.Event()
        self._heard_of = -HEARD_OF_S
        self._model = model
        self._client = client

    async def check(self) -> None:
        """Brings `served` and `trouble` up to date. Raises ConfigError for what waiting does not mend."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                health = await self._client.get(f"{self.url}/health")
                if not health.is_success and health.status_code not in NO_SUCH_PAGE:
                    raise BadAnswer(f"answers {health.status_code} at /health")
                models = await self._client.get(f"{self.url}/v1/models")
            if models.status_code in NO_ENTRY:
                raise ConfigError(_no_entry(self.url, models.status_code))
            if not models.is_success:
                raise BadAnswer(f"answers {models.status_code} at /v1/models")
            served = served_model(models.content, self._model, self.url)
            if self.served and served.name != self.served.name:
                raise BadAnswer(
                    f"served {self.served.name} and now {served.name}; if that is meant, restart us"
                )
            self.served = served
        except ConfigError as error:
            self.trouble = error.message
            raise
        except BadAnswer as error:
            self.trouble = str(error)
        except TimeoutError:
            if self._heard_of + HEARD_OF_S < asyncio.get_running_loop().time():
                self.trouble = f"did not answer within {HEALTH_TIMEOUT_S:.0f} s"
        except httpx.HTTPError as error:
            self.trouble = _broken(error)
        else:
            self.trouble = ""

    async def ask(self, body: Body, read: Read[_T]) -> AsyncGenerator[_T, None]:
        """What `read` makes of the answer. Closing it closes the connection. Raises RequestFailed."""
        self.active += 1
        self.given += 1
        try:
            async with contextlib.aclosing(self._answer(body, read)) as items:
                async for item in items:
                    yield item
        except BadAnswer as error:
            raise RequestFailed(str(error), elsewhere=True) from error
        except TimeoutError as error:
            self.check_now.set()
            raise RequestFailed("gave no token for too long", elsewhere=False) from error
        except httpx.HTTPError as error:
            if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
                self.trouble = _broken(error)
            self.check_now.set()
            raise RequestFailed(_broken(error), elsewhere=True) from error
        finally:
            self.active -= 1

    async def _answer(self, body: Body, read: Read[_T]) -> AsyncGenerator[_T, None]:
        assert self.served  # noqa: S101 - it is asked only after it has told
        now = asyncio.get_running_loop().time
        deadline = now() + FIRST_TOKEN_TIMEOUT_S
        request = self._client.stream("POST", f"{self.url}/v1/completions", json=body(self.served))
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout_at(deadline):
                response = await stack.enter_async_context(request)
                if not response.is_success:
                    raise self._refusal(response.status_code, await response.aread())
            items = await stack.enter_async_context(contextlib.aclosing(read(response)))
            while True:
                async with asyncio.timeout_at(deadline):
                    item = await anext(items, None)
                if item is None:
                    return
                self._heard_of = now()
                yield item
                deadline = now() + NEXT_TOKEN_TIMEOUT_S

    def _refusal(self, status: int, answer: bytes) -> RequestFailed:
        if status in NOT_THERE:
            self.trouble = f"answers {status}"
            self.check_now.set()
        if status in NO_ENTRY:
            return RequestFailed(f"answers {status}: set ACEPILOT_UPSTREAM_TOKEN", elsewhere=False)
        why = f"answers {status}{error_names(answer)}"
        return RequestFailed(why, elsewhere=status >= 500 or status == BUSY, busy=status == BUSY)


def _no_entry(url: str, status: int) -> str:
    return f"{url} answers {status}: it wants a token, or another one; set ACEPILOT_UPSTREAM_TOKEN."


def _broken(error: httpx.HTTPError) -> str:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return "cannot be reached"
    return f"broke the connection ({type(error).__name__})"
