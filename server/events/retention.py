"""Deletes old events: a few days' events at a time, and only while the clock agrees with what is stored.

A machine may start with the date 1970 or 2038. All events then seem to be in the far future, or old.
"""

import time
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
import structlog

from server.events.database import events

RECENT_DAYS = 30
DAYS_SEEN = 3
"""The clock is trusted when events of DAYS_SEEN of its last RECENT_DAYS are stored. A wrong date has few."""

DAYS_AT_A_TIME = 3
"""Most days whose events one clean-up deletes, the oldest first: a wrong clock then costs little."""

ROWS_AT_A_TIME = 1_000
"""Rows in one deletion, so that no other writer waits long."""

_log = structlog.get_logger()


class Retention:
    def __init__(self, keep_days: int, every_s: float) -> None:
        """Events older than `keep_days` are deleted, 0 keeps all. A clean-up begins every `every_s`."""
        self._keep_days = keep_days
        self._every_s = every_s
        self._due_at = 0.0
        self._days: list[date] = []

    def clean_up(self, engine: sa.Engine) -> None:
        """Delete up to ROWS_AT_A_TIME old events if a clean-up is due or unfinished."""
        if self._keep_days and time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + self._every_s
            self._days = []  # an error ends this clean-up
            self._days = self._old_days(engine)
        if not self._days:
            return
        days, self._days = self._days, []
        some = sa.select(events.c.id).where(events.c.day.in_(days)).limit(ROWS_AT_A_TIME)
        with engine.begin() as connection:
            count = connection.execute(sa.delete(events).where(events.c.id.in_(some))).rowcount
        _log.info("events_deleted", count=count, days=[str(day) for day in days])
        if count == ROWS_AT_A_TIME:
            self._days = days

    def _old_days(self, engine: sa.Engine) -> list[date]:
        """Return the oldest days with old events; none while the clock is not trusted.

        Clients say when an event was: those as far in the future would otherwise stay for ever.
        """
        today, kept, day = datetime.now(UTC).date(), timedelta(days=self._keep_days), events.c.day
        old = sa.select(day).distinct().where(sa.or_(day < today - kept, day > today + kept))
        recent = sa.select(day).distinct().where(day.between(today - timedelta(days=RECENT_DAYS), today))
        with engine.connect() as connection:
            days = list(connection.execute(old.order_by(day).limit(DAYS_AT_A_TIME)).scalars())
            seen = len(connection.execute(recent.limit(DAYS_SEEN)).all()) if days else 0
        if days and seen < DAYS_SEEN:
            why = f"only {seen} of the last {RECENT_DAYS} days have events, not {DAYS_SEEN}: check the date"
            _log.warning("events_not_deleted", today=str(today), why=why)
            return []
        return days
