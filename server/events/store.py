"""The queue of completion events: taken at once, written to the database by one thread, in batches.

Completions never wait for it. When the disk is full or the database does not answer, the log says so once,
and `/metrics` too. Up to `capacity` events are kept in memory meanwhile; any more are dropped and counted.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError, OperationalError

from acepilot.disk import is_full_disk
from acepilot.events import CompletionEvent
from server.events.database import Database, events, insert_new, is_damaged, open_database, row
from server.events.limits import DEFAULT_LIMITS, HourlyLimit, StoreLimits
from server.events.retention import Retention
from server.metrics import EventMetrics

ACCEPTED_KINDS = ("accepted", "partly_accepted")

_Key = tuple[str, int, str, int]
"""completion_id, choice, kind, after_s: unique in the table."""
_Row = dict[str, Any]

_log = structlog.get_logger()


class _Queued(NamedTuple):
    client: str
    event: CompletionEvent


class EventStore:
    """Opens the database with the first event: a server without events creates no file."""

    def __init__(
        self, url: sa.URL, metrics: EventMetrics, limits: StoreLimits = DEFAULT_LIMITS, *, keep_days: int = 0
    ) -> None:
        """Events older than `keep_days` are deleted; 0 keeps all."""
        self._url = url
        self._metrics = metrics
        self._limits = limits
        self._retention = Retention(keep_days, limits.clean_up_s)
        self._hourly = HourlyLimit(limits.per_hour)
        self._waiting: deque[_Queued] = deque()
        self._waiting_of: Counter[str] = Counter()  # the waiting events of each client
        self._in_hand = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._database: Database | None = None
        self._in_doubt = False  # SQLite reported damage
        self._is_failing = False

    def put(self, new: Iterable[CompletionEvent], client: str = "") -> int:
        """Queue the events of a client, each once; returns at once with their number.

        Events beyond the client's share of an hour, or of the queue, are dropped and counted.
        """
        fresh = list({_identity(event): event for event in new}.values())
        with self._changed:
            room = max(0, self._limits.capacity // 2 - self._waiting_of[client])
            taken = self._hourly.taken(client, min(len(fresh), room))
            if refused := len(fresh) - taken:
                self._metrics.lost.inc(refused)
                _log.warning("events_refused", count=refused, why="one client sends more than editors do")
                fresh = fresh[:taken]
            if self._closing:
                self._drop_at_end(len(fresh))
                return 0
            self._waiting.extend(_Queued(client, event) for event in fresh)
            self._waiting_of[client] += len(fresh)
            self._trim()
            if self._thread is None and self._waiting:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
            self._changed.notify()
        return len(fresh)

    def close(self) -> None:
        """Write the waiting events within `close_timeout_s`; drop and count the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(self._limits.close_timeout_s)
        with self._changed:
            self._drop_at_end(len(self._waiting) + self._in_hand)
            self._waiting.clear()
            self._in_hand = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    break
                self._changed.wait_for(lambda: self._closing, self._limits.gather_s)
                count = min(self._limits.batch, len(self._waiting))
                batch = self._popped(count)
                self._in_hand = len(batch)
            is_written = self._is_written([queued.event for queued in batch])
            with self._changed:
                self._in_hand = 0
                if not is_written:
                    self._waiting.extendleft(reversed(batch))
                    self._waiting_of.update(queued.client for queued in batch)
                    self._trim()
                    if self._changed.wait_for(lambda: self._closing, self._limits.retry_s):
                        break
        self._close_database()

    def _is_written(self, batch: list[CompletionEvent]) -> bool:
        """Write the batch. Return False when it must be tried again later."""
        try:
            if self._in_doubt or (self._database is not None and self._database.is_replaced()):
                self._close_database()
            if self._database is None:
                self._database = open_database(self._url, thorough=self._in_doubt)
                self._in_doubt = False
            self._clean_up(self._database.engine)
            self._write(self._database.engine, batch)
        except Exception as error:  # this thread must survive every error
            self._report_failing(error)
            if is_damaged(error):
                self._in_doubt = True  # opening it again repairs it, or moves it aside
                return False
            if self._database is None or _is_temporary(error):
                return False
            self._metrics.lost.inc(len(batch))  # the same events would fail again
            return True
        if self._is_failing:
            self._is_failing = False
            self._metrics.failing.set(0)
            _log.info("events_stored_again")
        return True

    def _clean_up(self, engine: sa.Engine) -> None:
        """Delete old events. A failure does not stop the writing."""
        try:
            self._retention.clean_up(engine)
        except Exception as error:
            cause = getattr(error, "orig", None) or error
            _log.warning("events_not_deleted", why=f"{type(cause).__name__}: {cause}")
            self._in_doubt = self._in_doubt or is_damaged(error)

    def _close_database(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _write(self, engine: sa.Engine, batch: list[CompletionEvent]) -> None:
        """Write each event once, and for a completion accepted piece by piece, its greatest length."""
        rows = [row(event) for event in batch]
        fresh: dict[_Key, _Row] = {}
        grown: dict[_Key, _Row] = {}
        with engine.begin() as connection:
            before = _stored_chars(connection, {values["completion_id"] for values in rows})
            for values in rows:
                key = values["completion_id"], values["choice"], values["kind"], values["after_s"]
                grows = values["kind"] in ACCEPTED_KINDS
                if key not in before:
                    if key not in fresh or (grows and values["chars"] > fresh[key]["chars"]):
                        fresh[key] = values
                elif grows and values["chars"] > (grown[key]["chars"] if key in grown else before[key]):
                    grown[key] = values
            if fresh:
                connection.execute(insert_new(engine), list(fresh.values()))
            for values in grown.values():
                connection.execute(_grow(values))
        self._count(before, fresh, grown)

    def _count(self, before: dict[_Key, int], fresh: dict[_Key, _Row], grown: dict[_Key, _Row]) -> None:
        for values in fresh.values():
            self._metrics.count(values)
        now = before | {key: values["chars"] for key, values in (fresh | grown).items()}
        for values in {key[:2]: values for key, values in (fresh | grown).items()}.values():
            more = _accepted_chars(now, values) - _accepted_chars(before, values)
            self._metrics.count_accepted(values, more)

    def _report_failing(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._metrics.failing.set(1)
            where = self._url.render_as_string(hide_password=True)
            cause = getattr(error, "orig", None) or error
            full = "The disk is full: free some space. " if is_full_disk(cause) else ""
            _log.error("events_not_stored", where=where, why=f"{full}{type(cause).__name__}: {cause}")

    def _trim(self) -> None:
        """Drop the oldest events beyond the capacity."""
        if (over := len(self._waiting) - self._limits.capacity) > 0:
            self._metrics.lost.inc(len(self._popped(over)))

    def _popped(self, count: int) -> "list[_Queued]":
        """Take the oldest events from the queue."""
        popped = [self._waiting.popleft() for _ in range(count)]
        self._waiting_of -= Counter(queued.client for queued in popped)  # forgets clients without any
        return popped

    def _drop_at_end(self, count: int) -> None:
        if count:
            self._metrics.lost.inc(count)
            _log.error("events_lost", count=count, why="the server stopped before they could be written")


def _identity(event: CompletionEvent) -> tuple[object, ...]:
    return event.completion_id, event.choice, event.kind, event.after_s, event.chars


def _stored_chars(connection: sa.Connection, completion_ids: set[str]) -> dict[_Key, int]:
    """Return the `chars` of all stored events of these completions."""
    of = events.c
    stored = sa.select(of.completion_id, of.choice, of.kind, of.after_s, of.chars)
    found = connection.execute(stored.where(of.completion_id.in_(completion_ids)))
    return {(one[0], one[1], one[2], one[3]): one[4] for one in found}


def _grow(values: _Row) -> sa.Executable:
    of = events.c
    same = (of.completion_id == values["completion_id"], of.choice == values["choice"])
    return (
        sa.update(events)
        .where(*same, of.kind == values["kind"], of.chars < values["chars"])
        .values(chars=values["chars"], at=values["at"])
    )


def _accepted_chars(known: dict[_Key, int], values: _Row) -> int:
    """Return the accepted characters of one completion. An accepted whole text includes its pieces."""
    return max(known.get((values["completion_id"], values["choice"], kind, 0), 0) for kind in ACCEPTED_KINDS)


def _is_temporary(error: Exception) -> bool:
    """Return True for a full disk or a lost connection; wrong data fails every time."""
    return isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
