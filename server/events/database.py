"""The database of completion events: one table, in SQLite or PostgreSQL, migrated by Alembic.

It holds counts, names and times only; acepilot/events.py says what a row means.
"""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError

from acepilot.errors import ConfigError
from acepilot.events import MAX_NAME_CHARS, CompletionEvent
from acepilot.settings import home

NUMBER: sa.Double[float] = sa.Double()

POSTGRESQL_TIMEOUTS = {"connect_timeout": "5", "tcp_user_timeout": "10000"}
"""Connection parameters, in s and ms. By default the driver waits minutes for a host that does not answer."""

SQLITE_HEADER = b"SQLite format 3\0"
SCHEMA_BYTES = 65_536
"""The largest page of SQLite. The first page begins with the header, and holds the tables' definitions."""

_log = structlog.get_logger()

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


@dataclass(frozen=True)
class Database:
    """An open database, with the table of this version."""

    url: sa.URL
    engine: sa.Engine
    file: tuple[int, int] | None
    """Device and inode of the SQLite file that is open."""

    def is_replaced(self) -> bool:
        """Return True if the SQLite file was renamed or removed, as another server does if it is damaged."""
        return self.file is not None and self.file != _identity(self.url)

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: sa.URL, *, thorough: bool = False) -> Database:
    """Open the database and migrate it to this version's table. A damaged SQLite file of ours is moved aside.

    `thorough`, for use after SQLite reported damage, rebuilds the indexes and checks all rows. It reads the
    whole file.

    Raises ConfigError when a driver is missing or the file is damaged and not ours, and the errors of
    SQLAlchemy, Alembic and the file system.
    """
    if _is_sqlite(url) and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(url)
    if _is_sqlite(url):
        listen(engine, "connect", _write_ahead)
    file = _identity(url)  # of before: if it is replaced meanwhile, `is_replaced` says so
    try:
        if _is_sqlite(url) and (damage := _damage(engine, thorough)):
            engine.dispose()
            if not is_ours(url):
                raise ConfigError(
                    f"{url.database} is not a database of Acepilot's events, or is damaged: {damage}. "
                    "Move it away, or change events_url."
                )
            if file == _identity(url):  # else another server was faster
                _log.error("events_moved_aside", to=str(_move_aside(Path(url.database or ""))), why=damage)
            file = None
        with engine.begin() as connection:
            migrate(connection)
    except Exception:
        engine.dispose()
        raise
    return Database(url, engine, file or _identity(url))


def refusal(url: sa.URL) -> str:
    """Return why a file that the user names cannot be the database; empty if it can."""
    file = Path(url.database or "")
    if not _is_sqlite(url) or not file.is_file():
        return ""
    with file.open("rb") as opened:
        begin = opened.read(len(SQLITE_HEADER))
    return f"{file} is not an SQLite database: name another file" if begin not in (b"", SQLITE_HEADER) else ""


def _identity(url: sa.URL) -> tuple[int, int] | None:
    try:
        about = Path(url.database or "").stat() if _is_sqlite(url) and url.database else None
    except FileNotFoundError:
        return None
    return (about.st_dev, about.st_ino) if about else None


def is_ours(url: sa.URL) -> bool:
    """Return True for the default file, and for an SQLite database with our table."""
    if url == database_url(None):
        return True
    with Path(url.database or "").open("rb") as opened:
        begin = opened.read(SCHEMA_BYTES)
    return begin.startswith(SQLITE_HEADER) and events.name.encode() in begin


def is_damaged(error: BaseException) -> bool:
    """Return True if SQLite reports that its file is damaged, or is of another kind."""
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # without SQLite's details
    return isinstance(cause, sqlite3.DatabaseError) and code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def damaged_files(url: sa.URL) -> list[Path]:
    """Return the files that were moved aside, the oldest first."""
    if not _is_sqlite(url) or not url.database:
        return []
    file = Path(url.database)
    return sorted(one for one in file.parent.glob(f"{file.name}.damaged-*") if one.name.endswith("Z"))


def _damage(engine: sa.Engine, thorough: bool) -> str:
    """Return what SQLite finds wrong; empty if nothing. `thorough` rebuilds the indexes first."""
    try:
        with engine.connect() as connection:
            if thorough:
                connection.exec_driver_sql("REINDEX")
            check = "integrity_check(1)" if thorough else "quick_check(1)"
            found = str(connection.exec_driver_sql(f"PRAGMA {check}").scalar())
    except Exception as error:
        if is_damaged(error) or isinstance(error, IntegrityError):  # rows that an index forbids
            return str(getattr(error, "orig", None) or error)
        raise
    return "" if found == "ok" else found.replace("\n", " ")


def _move_aside(file: Path) -> Path:
    """Rename the file, with its log, to a name with the time; nothing is deleted. Return the new name."""
    to = file.with_name(f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    for end in ("", "-wal", "-shm"):
        if (part := Path(f"{file}{end}")).exists():
            part.rename(f"{to}{end}")
    return to


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
