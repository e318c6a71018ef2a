"""Several upstream servers as one: which of them gets a request, which are well, and what is tried again.

A request goes to the replica with the least in flight, but rather to the one that has the document in its KV
cache. What fails before its first token is tried on another replica; after that the text is half told, and
another try could tell another.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TypeVar

import structlog

from acepilot.errors import AcepilotError, ConfigError, EngineFailed, Overloaded, ServerNotReady
from server.engine.upstream.prefixes import PrefixMemory
from server.engine.upstream.protocol import Served
from server.engine.upstream.replica import Body, Read, Replica, RequestFailed, make_client

CHECK_WELL_EVERY_S = 5.0
CHECK_DOWN_EVERY_S = 1.0

TRIES = 3
RETRY_PAUSE_S = 0.2
"""Before the same replica is tried again, where there is no other."""

BUSY_RETRY_AFTER_S = 1
"""Completions are short: a place is free soon."""

AFFINITY = 4.0
"""So many more requests may a replica have in flight that has all of the prompt's beginning."""

_log = structlog.get_logger()
_T = TypeVar("_T")


class Replicas:
    """Everything but `active` belongs to one event loop, the one that it is made in."""

    def __init__(self, urls: tuple[str, ...], model: str, token: str | None) -> None:
        self._client = make_client(token)
        self._all = [Replica(url, model, self._client) for url in urls]
        self._prefixes = PrefixMemory()
        self._watching: list[asyncio.Task[None]] = []

    @property
    def active(self) -> int:
        """Requests in flight."""
        return sum(replica.active for replica in self._all)

    @property
    def served(self) -> list[Served]:
        """What they serve, of each replica that has ever answered."""
        return [replica.served for replica in self._all if replica.served]

    async def open(self) -> None:
        """Asks all, and goes on asking in the background.

        Raises ServerNotReady when none is well, ConfigError for what waiting does not mend.
        """
        await asyncio.gather(*(replica.check() for replica in self._all))
        if all(replica.trouble for replica in self._all):
            raise self._nobody()
        self._watching = [asyncio.create_task(self._watch(replica)) for replica in self._all]

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        await self._client.aclose()

    async def stream(self, prompt: str, body: Body, read: Read[_T]) -> AsyncGenerator[_T, None]:
        """What `read` makes of the answer to one request, at the replica that suits its `prompt`.

        Closing it closes the connection. Raises Overloaded when a queue is full, ServerNotReady when no
        replica can be reached, EngineFailed otherwise.
        """
        tried: list[Replica] = []
        while True:
            replica = self._choose(prompt, tried)
            if replica in tried:
                await asyncio.sleep(RETRY_PAUSE_S)
            self._prefixes.remember(prompt, replica.url)
            begun = False
            try:
                async with contextlib.aclosing(replica.ask(body, read)) as items:
                    async for item in items:
                        begun = True
                        yield item
                return
            except RequestFailed as failure:
                tried.append(replica)
                if begun or not failure.elsewhere or len(tried) == TRIES:
                    raise self._told(replica, failure) from failure
                _log.warning("upstream_tries_again", failed=replica.url, why=str(failure), tries=len(tried))

    def _choose(self, prompt: str, tried: list[Replica]) -> Replica:
        """The well before the others, then those not tried yet, then the least busy, where having the
        prompt's beginning makes up for some requests; of equals the one that was given least.

        One that is down comes last but not never: it may have come back since it was asked.
        """
        shares = self._prefixes.shares(prompt)

        def rank(replica: Replica) -> tuple[bool, bool, float, int]:
            load = replica.active - AFFINITY * shares.get(replica.url, 0.0)
            return bool(replica.trouble), replica in tried, load, replica.given

        return min((replica for replica in self._all if replica.served), key=rank)

    def _told(self, replica: Replica, failure: RequestFailed) -> AcepilotError:
        if failure.busy:
            return Overloaded(
                f"The upstream servers have their queues full ({replica.url} {failure}): try again in "
                f"{BUSY_RETRY_AFTER_S} s, or add a replica.",
                retry_after_s=BUSY_RETRY_AFTER_S,
            )
        if all(replica.trouble for replica in self._all):
            return self._nobody()
        return EngineFailed(f"The upstream server {replica.url} {failure}. Its own log says more.")

    def _nobody(self) -> ServerNotReady:
        states = "; ".join(f"{replica.url} {replica.trouble}" for replica in self._all)
        return ServerNotReady(
            f"No upstream server is ready: {states}. Start one; it is noticed within seconds."
        )

    async def _watch(self, replica: Replica) -> None:
        """Asks again and again, and tells the log when it goes and when it comes back."""
        told_well = True
        while True:
            if told_well and replica.trouble:
                _log.warning("upstream_down", url=replica.url, why=replica.trouble)
            elif not told_well and not replica.trouble:
                _log.info("upstream_up", url=replica.url)
            told_well = not replica.trouble
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_WELL_EVERY_S if told_well else CHECK_DOWN_EVERY_S):
                    await replica.check_now.wait()
            replica.check_now.clear()
            with contextlib.suppress(ConfigError):  # its trouble tells
                await replica.check()
