"""Several upstream servers as one: chooses a replica for each request, checks their health, and retries.

A request goes to the replica with the fewest requests in flight, with a preference for one that has the
document in its KV cache. A request that fails before its first token is retried on another replica. Later it
is not: another attempt could produce a different text.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import structlog

from acepilot.errors import AcepilotError, ConfigError, EngineFailed, Overloaded, ServerNotReady
from server.engine.upstream.protocol import Served
from server.engine.upstream.replica import Body, Read, Replica, RequestFailed, TimeLimits, make_client

TRIES = 3
"""Attempts for one request, the first included."""

RETRY_PAUSE_S = 0.2
"""Seconds before the same replica is tried again, if there is no other."""

BUSY_RETRY_AFTER_S = 1
"""Seconds after which a client may retry when all queues are full: completions are short."""

AFFINITY = 4.0
"""A replica that has the whole beginning of a prompt gets it even with this many more requests in flight."""

BLOCK_CHARS = 256
"""Characters in a remembered block of a prompt: about five of vLLM's cache blocks, so little is lost."""

REMEMBERED = 65_536
"""Blocks to remember: some 4,000 documents at the default prompt budget, in a few megabytes."""

_log = structlog.get_logger()
_T = TypeVar("_T")


class Replicas:
    """All of it except `active` and `trouble` belongs to the event loop in which it is opened."""

    def __init__(self, urls: tuple[str, ...], model: str, token: str | None, limits: TimeLimits) -> None:
        self._client = make_client(token)
        self._limits = limits
        self._all = [Replica(url, model, self._client, limits) for url in urls]
        self._prefixes = PrefixMemory()
        self._watching: list[asyncio.Task[None]] = []

    @property
    def active(self) -> int:
        """The number of requests in flight."""
        return sum(replica.active for replica in self._all)

    @property
    def served(self) -> list[Served]:
        """The model of each replica that has ever answered."""
        return [replica.served for replica in self._all if replica.served]

    @property
    def trouble(self) -> str:
        """Why no replica can be used; an empty text while one is healthy."""
        troubles = [(replica.url, replica.trouble) for replica in self._all]
        if not all(trouble for _, trouble in troubles):
            return ""
        states = "; ".join(f"{url} {trouble}" for url, trouble in troubles)
        return f"No upstream server is ready: {states}. Start one; Acepilot notices it within seconds."

    async def open(self) -> None:
        """Check all replicas, and keep checking them in the background.

        Raises ServerNotReady if none is healthy, ConfigError for a problem that waiting does not solve.
        """
        await asyncio.gather(*(replica.check() for replica in self._all))
        if self.trouble:
            raise ServerNotReady(self.trouble)
        self._watching = [asyncio.create_task(self._watch(replica)) for replica in self._all]

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        await self._client.aclose()

    async def request(self, prompt: str, body: Body, read: Read[_T], send: Callable[[_T], None]) -> None:
        """Send one request to the best replica for `prompt`; call `send` with each item that `read` finds.

        `prompt` must begin with the request's `cache_salt`: replicas share no KV cache between salts.
        Cancelling it closes the connection. Raises Overloaded if a queue is full, ServerNotReady if no
        replica can be reached, else EngineFailed.
        """
        tried: list[Replica] = []
        while True:
            replica = self._choose(prompt, tried)
            if replica in tried:
                await asyncio.sleep(RETRY_PAUSE_S)
            self._prefixes.remember(prompt, replica.url)
            try:
                await replica.request(body, read, send)
                return
            except RequestFailed as failure:
                tried.append(replica)
                if not failure.retryable or len(tried) == TRIES:
                    raise self._error(replica, failure) from failure
                _log.warning("upstream_tries_again", failed=replica.url, why=str(failure), tries=len(tried))

    def _choose(self, prompt: str, tried: list[Replica]) -> Replica:
        """Return the best replica for a request.

        Healthy replicas come first, then those not tried yet, then the least busy, where having the prompt's
        beginning outweighs some requests; among equals the one with the fewest requests so far. A replica
        that is down comes last, but is not excluded: it may have come back since its last check.
        """
        shares = self._prefixes.shares(prompt)

        def rank(replica: Replica) -> tuple[bool, bool, float, int]:
            load = replica.active - AFFINITY * shares.get(replica.url, 0.0)
            return bool(replica.trouble), replica in tried, load, replica.given

        return min((replica for replica in self._all if replica.served), key=rank)

    def _error(self, replica: Replica, failure: RequestFailed) -> AcepilotError:
        if failure.busy:
            return Overloaded(
                f"The upstream servers have their queues full ({replica.url} {failure}): try again in "
                f"{BUSY_RETRY_AFTER_S} s, or add a replica.",
                retry_after_s=BUSY_RETRY_AFTER_S,
            )
        if self.trouble:
            return ServerNotReady(self.trouble)
        return EngineFailed(f"The upstream server {replica.url} {failure}. See its own log.")

    async def _watch(self, replica: Replica) -> None:
        """Check a replica for ever, and log when it goes down and when it comes back."""
        was_healthy = True
        while True:
            if was_healthy and replica.trouble:
                _log.warning("upstream_down", url=replica.url, why=replica.trouble)
            elif not was_healthy and not replica.trouble:
                _log.info("upstream_up", url=replica.url)
            was_healthy = not replica.trouble
            pause_s = self._limits.check_healthy if was_healthy else self._limits.check_down
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await replica.check_now.wait()
            replica.check_now.clear()
            with contextlib.suppress(ConfigError):  # `trouble` has its message
                await replica.check()


class PrefixMemory:
    """The replica that received each prompt's beginning last, by hashes of its blocks; it keeps no text."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._replicas: OrderedDict[int, str] = OrderedDict()

    def shares(self, prompt: str) -> dict[str, float]:
        """Return the share of the prompt, from its beginning, of each replica that has some of it."""
        found: dict[str, int] = {}
        hashes = _beginnings(prompt)
        for number, beginning in enumerate(hashes, start=1):
            replica = self._replicas.get(beginning)
            if replica is None:
                break
            found[replica] = number
        return {replica: blocks / len(hashes) for replica, blocks in found.items()}

    def remember(self, prompt: str, replica: str) -> None:
        for beginning in _beginnings(prompt):
            self._replicas[beginning] = replica
            self._replicas.move_to_end(beginning)
        while len(self._replicas) > self._capacity:
            self._replicas.popitem(last=False)


def _beginnings(prompt: str) -> list[int]:
    """Return a hash of the prompt's first block, of its first two, and so on. A partial block has none."""
    hashes: list[int] = []
    known = 0
    for end in range(BLOCK_CHARS, len(prompt) + 1, BLOCK_CHARS):
        known = hash((known, prompt[end - BLOCK_CHARS : end]))
        hashes.append(known)
    return hashes
