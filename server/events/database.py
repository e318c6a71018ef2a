"""The database of completion events: one table, in SQLite or PostgreSQL, migrated by Alembic.

It holds counts, names and times only; acepilot/events.py says what a row means.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.event import listen

from acepilot.errors import ConfigError
from acepilot.events import MAX_NAME_CHARS, CompletionEvent
from acepilot.settings import home

NUMBER: sa.Double[float] = sa.Double()

POSTGRESQL_TIMEOUTS = {"connect_timeout": "5", "tcp_user_timeout": "10000"}
"""Connection parameters, in s and ms. By default the driver waits minutes for a host that does not answer."""

metadata = sa.MetaData()

events = sa.Table(
    "completion_events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("completion_id", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("choice", sa.SmallInteger(), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    # 0 when there is none: in SQL, two NULLs are never equal, so the constraint would not find duplicates.
    sa.Column("after_s", sa.SmallInteger(), nullable=False),
    sa.Column("at", NUMBER, nullable=False),
    sa.Column("day", sa.Date(), nullable=False),
    sa.Column("model", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("language", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("client", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("shown_chars", sa.Integer(), nullable=False),
    sa.Column("chars", sa.Integer(), nullable=False),
    sa.Column("latency_ms", NUMBER),
    sa.Column("kept_ratio", NUMBER),
    sa.UniqueConstraint("completion_id", "choice", "kind", "after_s", name="completion_events_once"),
    sa.Index("completion_events_day", "day"),
)


def database_url(given: str | None) -> sa.URL:
    """Return the URL for `given`, whose own time-outs take precedence, or that of events.sqlite3."""
    if given is None:
        return sa.URL.create("sqlite", database=str(home() / "events.sqlite3"))
    url = sa.make_url(given)
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        return url
    return url.set(drivername="postgresql+psycopg", query={**POSTGRESQL_TIMEOUTS, **url.query})


def is_there(url: sa.URL) -> bool:
    """Return False for an SQLite file that does not exist yet."""
    return not _is_sqlite(url) or Path(url.database or "").exists()


def open_database(url: sa.URL) -> sa.Engine:
    """Open the database and migrate it to this version's table.

    Raises ConfigError when a driver is missing, and the errors of SQLAlchemy, Alembic and the file system.
    """
    if _is_sqlite(url) and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(url)
    if _is_sqlite(url):
        listen(engine, "connect", _write_ahead)
    try:
        with engine.begin() as connection:
            migrate(connection)
    except Exception:
        engine.dispose()
        raise
    return engine


def open_to_read(url: sa.URL) -> sa.Engine:
    """Open the database without changing table or file, so that a copy on a read-only disk can be read."""
    if not _is_sqlite(url):
        return _engine(url).execution_options(postgresql_readonly=True)
    file = Path(url.database or "").absolute()
    query = {**url.query, "uri": "true", "mode": "ro"}
    if not Path(f"{file}-wal").exists():
        query["immutable"] = "1"  # no server has it open; without this, SQLite would create files beside it
    return _engine(url.set(database=file.as_uri(), query=query))


def _engine(url: sa.URL) -> sa.Engine:
    try:
        # Errors then contain no parameters, and so no log does.
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=not _is_sqlite(url))
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"events_url needs the package {error.name}, which is not installed. Run "
            "`pip install -e '.[postgres]'` in Acepilot's folder."
        ) from error


def _is_sqlite(url: sa.URL) -> bool:
    return url.drivername.startswith("sqlite")


def migrate(connection: sa.Connection) -> None:
    from alembic import command  # takes half a second, which a server's start need not wait for
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "server.events:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def row(event: CompletionEvent) -> dict[str, Any]:
    """Return the event as a row of the table."""
    values = event.model_dump()
    # PostgreSQL refuses NUL in a text, and the event would make its whole batch fail.
    texts = {name: value.replace("\0", "") for name, value in values.items() if isinstance(value, str)}
    day = datetime.fromtimestamp(event.at, UTC).date()
    return {**values, **texts, "after_s": event.after_s or 0, "day": day}


def insert_new(engine: sa.Engine) -> sa.Executable:
    """Return a statement that skips known rows: another server may share the database and be faster."""
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    return dialect.insert(events).on_conflict_do_nothing()


def _write_ahead(connection: Any, _: Any) -> None:
    """Turn on the write-ahead log, so that readers and the one writer do not wait for each other."""
    connection.execute("PRAGMA journal_mode=WAL")
