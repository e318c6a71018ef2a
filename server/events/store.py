"""Events on their way to the database: taken at once, written by one thread, in batches.

Completions never wait for it. A disk that is full or read-only, or a database that does not answer, is logged
once and shown in `/metrics`. Up to CAPACITY events are kept in memory; any more are dropped and counted.
"""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError

from acepilot.events import CompletionEvent
from server.events.database import events, open_database, row
from server.metrics import EventMetrics

GATHER_S = 0.25
BATCH = 1_000
CAPACITY = 50_000
"""Events that wait for a database: an hour of a hundred developers, some 40 MB."""
RETRY_S = 5.0
CLOSE_S = 5.0
TAKEN = ("accepted", "partly_accepted")

_Key = tuple[str, int, str, int]
_Row = dict[str, Any]

_log = structlog.get_logger()


class EventStore:
    """The database is opened with the first event: a server that hears of none leaves no file."""

    def __init__(self, url: sa.URL, metrics: EventMetrics) -> None:
        self._url = url
        self._metrics = metrics
        self._waiting: deque[CompletionEvent] = deque()
        self._in_hand = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._engine: sa.Engine | None = None
        self._is_failing = False

    def put(self, new: Iterable[CompletionEvent]) -> None:
        """Returns at once."""
        fresh = list(new)
        with self._changed:
            if self._closing:
                self._say_lost(len(fresh))
                return
            self._waiting.extend(fresh)
            self._trim()
            if self._thread is None and self._waiting:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits, if that can be done at once; the rest is lost, and said to be."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        with self._changed:
            self._say_lost(len(self._waiting) + self._in_hand)
            self._waiting.clear()
            self._in_hand = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    break
                self._changed.wait_for(lambda: self._closing, GATHER_S)
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._in_hand = len(batch)
            is_written = self._is_written(batch)
            with self._changed:
                self._in_hand = 0
                if not is_written:
                    self._waiting.extendleft(reversed(batch))
                    self._trim()
                    if self._changed.wait_for(lambda: self._closing, RETRY_S):
                        break
        if self._engine is not None:
            self._engine.dispose()

    def _is_written(self, batch: list[CompletionEvent]) -> bool:
        """False: try again later."""
        try:
            if self._engine is None:
                self._engine = open_database(self._url)
            self._write(self._engine, batch)
        except Exception as error:  # whatever it is, this thread must live on
            self._say_failing(error)
            if self._engine is None or _passes(error):
                return False
            self._lose(len(batch))  # the same events would fail for ever
            return True
        if self._is_failing:
            self._is_failing = False
            self._metrics.failing.set(0)
            _log.info("events_stored_again")
        return True

    def _write(self, engine: sa.Engine, batch: list[CompletionEvent]) -> None:
        """Each event once; of a completion that is accepted piece by piece, the most of it."""
        rows = [row(event) for event in batch]
        fresh: dict[_Key, _Row] = {}
        grown: dict[_Key, _Row] = {}
        with engine.begin() as connection:
            before = _chars_of(connection, {values["completion_id"] for values in rows})
            for values in rows:
                key = _key(values)
                grows = values["kind"] in TAKEN
                if key not in before:
                    if key not in fresh or (grows and values["chars"] > fresh[key]["chars"]):
                        fresh[key] = values
                elif grows and values["chars"] > (grown[key]["chars"] if key in grown else before[key]):
                    grown[key] = values
            if fresh:
                connection.execute(_insert(engine), list(fresh.values()))
            for values in grown.values():
                connection.execute(_grow(values))
        self._count(before, fresh, grown)

    def _count(self, before: dict[_Key, int], fresh: dict[_Key, _Row], grown: dict[_Key, _Row]) -> None:
        for values in fresh.values():
            self._metrics.count(values)
        now = before | {key: values["chars"] for key, values in (fresh | grown).items()}
        for values in {key[:2]: values for key, values in (fresh | grown).items()}.values():
            more = _taken_chars(now, values) - _taken_chars(before, values)
            self._metrics.count_accepted(values, more)

    def _say_failing(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._metrics.failing.set(1)
            where = self._url.render_as_string(hide_password=True)
            _log.error("events_not_stored", where=where, why=_in_words(error))

    def _trim(self) -> None:
        if (over := len(self._waiting) - CAPACITY) > 0:
            for _ in range(over):
                self._waiting.popleft()
            self._lose(over)

    def _say_lost(self, count: int) -> None:
        if count:
            self._lose(count)
            _log.error("events_lost", count=count, why="the server ends, and they could not be written")

    def _lose(self, count: int) -> None:
        self._metrics.lost.inc(count)


def _key(values: _Row) -> _Key:
    return values["completion_id"], values["choice"], values["kind"], values["after_s"]


def _chars_of(connection: sa.Connection, completion_ids: set[str]) -> dict[_Key, int]:
    """What is known of these completions."""
    columns = events.c
    found = connection.execute(
        sa.select(columns.completion_id, columns.choice, columns.kind, columns.after_s, columns.chars).where(
            columns.completion_id.in_(completion_ids)
        )
    )
    return {(one[0], one[1], one[2], one[3]): one[4] for one in found}


def _insert(engine: sa.Engine) -> sa.Executable:
    """Another server that shares the database may have been faster."""
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    return dialect.insert(events).on_conflict_do_nothing()


def _grow(values: _Row) -> sa.Executable:
    columns = events.c
    same = (columns.completion_id == values["completion_id"], columns.choice == values["choice"])
    return (
        sa.update(events)
        .where(*same, columns.kind == values["kind"], columns.chars < values["chars"])
        .values(chars=values["chars"], at=values["at"])
    )


def _taken_chars(known: dict[_Key, int], values: _Row) -> int:
    """Accepted characters of one completion. The whole text, once accepted, includes its pieces."""
    return max(known.get((values["completion_id"], values["choice"], kind, 0), 0) for kind in TAKEN)


def _passes(error: Exception) -> bool:
    """A disk can be emptied and a database come back; wrong data stays wrong."""
    return isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def _in_words(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {cause}"
