"""How many events the store takes, and how long it waits."""

import time
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class StoreLimits:
    gather_s: float = 0.25
    """Wait after the first event for more to write in one transaction. A crash loses no more than this."""

    batch: int = 1_000
    """Most events in one transaction."""

    capacity: int = 100_000
    """Most events that wait for a database: about two hours of a hundred developers, and 80 MB. One client
    may fill half of it."""

    retry_s: float = 5.0
    """Wait after a failed write."""

    close_timeout_s: float = 5.0
    """For the last writes when the server stops."""

    per_hour: int = 200_000
    """Most events an hour of one client. A team behind a proxy that names no addresses is one client."""

    clean_up_s: float = 3600.0
    """Time between two clean-ups, which delete old events."""


DEFAULT_LIMITS = StoreLimits()


class HourlyLimit:
    """Takes at most `limit` events an hour of each client: one that invents events must not fill the disk."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._began = time.monotonic()
        self._counts: Counter[str] = Counter()

    def taken(self, client: str, asked: int) -> int:
        """Return how many of the events may be stored."""
        now = time.monotonic()
        if now - self._began >= 3600:
            self._began = now
            self._counts.clear()
        taken = min(asked, self._limit - self._counts[client])
        self._counts[client] += taken
        return taken
