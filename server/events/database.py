"""Where events are kept: one table, in SQLite or PostgreSQL, brought up to date by Alembic's migrations.

Counts, names and times only: see acepilot/events.py for what a row means.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.event import listen

from acepilot.errors import ConfigError
from acepilot.events import MAX_NAME_CHARS, CompletionEvent
from acepilot.settings import home

NUMBER: sa.Double[float] = sa.Double()

PATIENCE = {"connect_timeout": "5", "tcp_user_timeout": "10000"}
"""For PostgreSQL, in s and ms. Left alone, its driver waits minutes for a host that answers nothing."""

metadata = sa.MetaData()

events = sa.Table(
    "completion_events",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("completion_id", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("choice", sa.SmallInteger(), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    # 0 where there is none: in SQL, two NULLs are never the same, and duplicates would pass.
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
    """`events_url`, or events.sqlite3 in `ACEPILOT_HOME`. What the URL says of time-outs holds."""
    if given is None:
        return sa.URL.create("sqlite", database=str(home() / "events.sqlite3"))
    url = sa.make_url(given)
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        return url
    return url.set(drivername="postgresql+psycopg", query={**PATIENCE, **url.query})


def is_there(url: sa.URL) -> bool:
    """False for an SQLite file that nobody has written yet."""
    return not _is_sqlite(url) or Path(url.database or "").exists()


def open_database(url: sa.URL) -> sa.Engine:
    """An engine whose tables are of this version. Raises what SQLAlchemy, Alembic and the file system raise.

    Raises ConfigError where a driver is missing.
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
    """An engine that changes nothing, neither table nor file: it reads a copy on a read-only disk, too."""
    if not _is_sqlite(url):
        return _engine(url).execution_options(postgresql_readonly=True)
    file = Path(url.database or "").absolute()
    query = {**url.query, "uri": "true", "mode": "ro"}
    if not Path(f"{file}-wal").exists():
        query["immutable"] = "1"  # nobody has it open; else SQLite would leave files of its own beside it
    return _engine(url.set(database=file.as_uri(), query=query))


def _engine(url: sa.URL) -> sa.Engine:
    try:
        # Parameters stay out of errors, and so out of logs.
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=not _is_sqlite(url))
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"events_url wants {error.name}, which is not installed: pip install -e '.[postgres]' "
            "in Acepilot's folder"
        ) from error


def _is_sqlite(url: sa.URL) -> bool:
    return url.drivername.startswith("sqlite")


def migrate(connection: sa.Connection) -> None:
    from alembic import command  # half a second that a server's start can do without
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "server.events:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def row(event: CompletionEvent) -> dict[str, Any]:
    values = event.model_dump()
    # PostgreSQL takes no NUL in a text, and one event must not keep others from being written.
    texts = {name: value.replace("\0", "") for name, value in values.items() if isinstance(value, str)}
    day = datetime.fromtimestamp(event.at, UTC).date()
    return {**values, **texts, "after_s": event.after_s or 0, "day": day}


def _write_ahead(connection: Any, _: Any) -> None:
    """Readers and the one writer do not wait for each other."""
    connection.execute("PRAGMA journal_mode=WAL")
