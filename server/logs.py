"""The log of the server and of its workers, on standard error: one line an event. No event contains code."""

import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from acepilot.logs import LIBRARY_LINES, LimitRecords, LineLimit, LogOutput, NoPayload
from acepilot.untrusted_text import escaped

EVENT_LINES = 1_000
"""Lines a minute of one event, which are at most about 400 MB a day. `/metrics` still counts everything."""

OUTPUT = LogOutput(sys.stderr)
EVENTS, RECORDS = LineLimit(EVENT_LINES), LineLimit(LIBRARY_LINES)


def set_up(level: str | int) -> None:
    """Log Acepilot's events from `level` on, and libraries' warnings without what they quote."""
    structlog.configure(
        processors=[
            _limit,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            _escape,
            structlog.dev.ConsoleRenderer(colors=sys.stderr is not None and sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, OUTPUT)),
    )
    handler = logging.StreamHandler(OUTPUT)
    handler.setFormatter(NoPayload())
    handler.addFilter(LimitRecords(RECORDS))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def lines_dropped() -> int:
    """Return the lines of this process that could not be written or came too often."""
    return OUTPUT.dropped + EVENTS.suppressed + RECORDS.suppressed


def _escape(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Make values safe for a terminal: names of files and models, and messages of databases."""
    return {name: escaped(value) if isinstance(value, str) else value for name, value in event.items()}


def _limit(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    before = EVENTS.admit(event["event"])
    if before is None:
        raise structlog.DropEvent
    return {**event, "suppressed_before": before} if before else event
