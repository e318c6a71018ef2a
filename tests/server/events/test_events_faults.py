"""Faults that must not cost statistics: wrong clocks, damaged indexes, files moved aside, files of others."""

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from acepilot.errors import ConfigError
from acepilot.events import CompletionEvent
from server.events.database import database_url
from server.events.limits import StoreLimits
from server.events.store import EventStore
from server.metrics import EventMetrics
from server.settings import EventsSettings

DAY_S = 86_400
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path))
    return tmp_path


@contextlib.contextmanager
def store(keep_days: int = 400, given: str | None = None, **limits: float) -> Iterator[EventStore]:
    made = StoreLimits(**{"gather_s": 0.01, "retry_s": 0.1, **limits})  # type: ignore[arg-type]
    opened = EventStore(database_url(given), EventMetrics(CollectorRegistry()), made, keep_days=keep_days)
    try:
        yield opened
    finally:
        opened.close()


def shown(name: str, age_days: float = 0) -> CompletionEvent:
    at = max(1.0, time.time() - age_days * DAY_S)
    return CompletionEvent(completion_id=name, kind="shown", at=at)


def write(events: Iterable[CompletionEvent], **settings: Any) -> list[Any]:
    """Write events as one start of a server; return its log."""
    with capture_logs() as logs, store(**settings) as opened:
        opened.put(events)
    return logs


@contextlib.contextmanager
def database(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    with contextlib.closing(connection):
        yield connection


def names(home: Path) -> set[str]:
    with database(home / "events.sqlite3") as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'completion_events'").fetchall():
            return set()  # a server is creating the tables
        return {name for (name,) in connection.execute("SELECT completion_id FROM completion_events")}


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def logged(logs: list[Any], name: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == name]


def write_history(days: int, newest_age: int, a_day: int = 4) -> set[str]:
    history = [shown(f"h{day}-{n}", newest_age + day) for day in range(days) for n in range(a_day)]
    write(history, keep_days=0)
    return {event.completion_id for event in history}


# Wrong clocks. That the clock goes wrong is the same as that all events are moved in time.


@pytest.mark.parametrize(("clock", "age_days"), [("2038", 12 * 365), ("1970", -56 * 365)])
def test_a_wrong_clock_deletes_nothing(home: Path, clock: str, age_days: int) -> None:
    history = write_history(380, age_days)
    for start in range(3):
        logs = write([shown(f"new{start}-{n}") for n in range(3)])
        assert len(names(home) & history) == 1_520, f"a start in {clock} deleted events"
    assert "check the date" in logged(logs, "events_not_deleted")[0]["why"]


def test_a_clock_that_stays_wrong_deletes_little(home: Path) -> None:
    history = write_history(380, 12 * 365)
    write([shown(f"now{age}", age) for age in range(4)], keep_days=0)
    (deleted,) = logged(write([shown("now")]), "events_deleted")
    assert deleted["log_level"] == "info"
    assert deleted["count"] == 12
    assert len(deleted["days"]) == 3
    assert len(names(home) & history) == 1_508


def test_with_a_right_clock_old_events_are_deleted_day_by_day(home: Path) -> None:
    write_history(40, 0)
    with store(keep_days=30, clean_up_s=0) as opened:
        for number in range(100):
            opened.put([shown(f"n{number}")])
            until(lambda number=number: f"n{number}" in names(home))
            if number == 20:
                break
    assert not any(re.match(r"h3[2-9]-", name) for name in names(home))
    assert {name for name in names(home) if name.startswith(("h0-", "h29-"))} != set()


# Damage


def damage_index(file: Path) -> None:
    """Store a row that is missing from the index of the UNIQUE constraint: SQLite reports it at deletion."""
    unique = "CONSTRAINT completion_events_once UNIQUE (completion_id, choice, kind, after_s)"
    find = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master WHERE name LIKE ?"
    with database(file) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        (index,) = connection.execute(find, ["sqlite_autoindex%events%"]).fetchall()
        ((*_, table),) = connection.execute(find, ["completion_events"]).fetchall()
        assert unique in table
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", [index[1]])
        without = re.sub(r",\s*" + re.escape(unique), "", table)
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'completion_events'", [without])
    with database(file) as connection:
        connection.execute(
            "INSERT INTO completion_events (completion_id, choice, kind, after_s, at, day, model, language, "
            "client, shown_chars, chars) VALUES ('hidden', 0, 'shown', 0, 1, '2020-01-01', '', '', '', 0, 0)"
        )
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'completion_events'", [table])
    with database(file) as connection:
        assert connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        assert connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",)


def test_a_damaged_index_stops_no_writing_and_is_repaired(home: Path) -> None:
    write((shown(f"h{age}", age) for age in range(4)), keep_days=0)
    damage_index(home / "events.sqlite3")
    with capture_logs() as logs, store() as opened:
        opened.put([shown("first")])
        until(lambda: "first" in names(home))
        opened.put([shown("second")])
        until(lambda: "second" in names(home))
    assert "malformed" in logged(logs, "events_not_deleted")[0]["why"]
    assert not logged(logs, "events_not_stored")
    with database(home / "events.sqlite3") as connection:
        assert connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
    write([shown("third")])
    assert names(home) == {"h0", "h1", "h2", "h3", "first", "second", "third"}, "the old one could be deleted"


def test_events_do_not_go_into_a_file_that_another_server_moved_aside(home: Path) -> None:
    with store() as first:
        first.put([shown("before")])
        until(lambda: (home / "events.sqlite3").exists() and "before" in names(home))
        for end in ("", "-wal", "-shm"):
            (home / f"events.sqlite3{end}").rename(home / f"events.sqlite3.damaged-x{end}")
        write([shown("second server")])
        first.put([shown("after")])
    assert names(home) == {"second server", "after"}


def test_two_damaged_files_of_one_second_are_both_kept(home: Path) -> None:
    for number in range(3):
        (home / "events.sqlite3").write_text(f"damaged {number} " * 100)
        write([shown("c")])
    aside = [one for one in home.glob("events.sqlite3.damaged-*") if one.name.endswith("Z")]
    assert sorted(one.read_text()[:9] for one in aside) == ["damaged 0", "damaged 1", "damaged 2"]


# Files of others


def test_a_file_that_is_no_database_is_refused_as_events_url(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = home / "notes.txt"
    notes.write_text("my notes\n" * 500)
    given = f"sqlite:///{notes}"
    logs = write([shown("c")], given=given)
    assert "is not a database of Acepilot's events" in logged(logs, "events_not_stored")[0]["why"]
    monkeypatch.setenv("ACEPILOT_EVENTS_URL", given)
    with pytest.raises(ConfigError, match=r"notes\.txt is not an SQLite database: name another file"):
        EventsSettings.load()
    assert notes.read_text() == "my notes\n" * 500
    assert list(home.iterdir()) == [notes]


def test_a_damaged_database_of_another_program_is_not_moved(home: Path) -> None:
    other = home / "other.sqlite3"
    with database(other) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.executemany("INSERT INTO bookmarks VALUES (?)", [["x" * 999]] * 100)
    whole = other.read_bytes()
    other.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    logs = write([shown("c")], given=f"sqlite:///{other}")
    assert "Move it away" in logged(logs, "events_not_stored")[0]["why"]
    assert not list(home.glob("other.sqlite3.damaged-*"))


def test_a_damaged_database_of_ours_is_moved_aside_wherever_it_is(home: Path) -> None:
    given = f"sqlite:///{home}/elsewhere.sqlite3"
    write((shown(f"c{n}") for n in range(500)), given=given)
    file = home / "elsewhere.sqlite3"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    logs = write([shown("new")], given=given)
    assert len(logged(logs, "events_moved_aside")) == 1
    with database(file) as connection:
        assert connection.execute("SELECT completion_id FROM completion_events").fetchall() == [("new",)]
