"""The store of events: batches, duplicates, migrations, dialects, failing disks and databases."""

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from prometheus_client import CollectorRegistry
from sqlalchemy.dialects import postgresql
from sqlalchemy.event import listen, remove
from sqlalchemy.schema import CreateTable
from structlog.testing import capture_logs

from acepilot.events import CompletionEvent
from server.events.database import database_url, events, insert_new, metadata, open_database
from server.events.limits import StoreLimits
from server.events.store import EventStore
from server.metrics import EventMetrics


def event(kind: str = "shown", name: str = "c1", **more: Any) -> CompletionEvent:
    values = {"at": 1_800_000_000.5, "model": "m", "language": "python", "client": "vim", "shown_chars": 9}
    return CompletionEvent.model_validate({"completion_id": name, "kind": kind, **values, **more})


class Store:
    """A store on `url`, its counters, and what it has written."""

    def __init__(self, url: sa.URL, **limits: Any) -> None:
        self.registry = CollectorRegistry()
        self.url = url
        metrics = EventMetrics(self.registry)
        metrics.keep_label("m")
        self.store = EventStore(url, metrics, StoreLimits(**{"retry_s": 0.1, **limits}))

    def metric(self, name: str, **labels: str) -> float:
        labels = {"language": "python", "model": "m", **labels} if labels else {}
        return self.registry.get_sample_value(name, labels) or 0.0

    def rows(self) -> list[Any]:
        engine = sa.create_engine(self.url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(sa.select(events).order_by(events.c.id)))
        finally:
            engine.dispose()

    def until(self, condition: Any, within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not become true in time"
            time.sleep(0.01)


@pytest.fixture
def url(tmp_path: Path) -> sa.URL:
    return database_url(f"sqlite:///{tmp_path}/folder/events.sqlite3")


@pytest.fixture
def file_store(url: sa.URL) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.store.close()


def test_events_are_written_soon(file_store: Store) -> None:
    file_store.store.put([event(latency_ms=120.0), event("accepted", chars=9)])
    file_store.until(lambda: file_store.metric("acepilot_events_total", kind="accepted"))
    shown, accepted = file_store.rows()
    assert (shown.completion_id, shown.kind, shown.after_s, shown.latency_ms) == ("c1", "shown", 0, 120.0)
    assert (shown.at, str(shown.day)) == (1_800_000_000.5, "2027-01-15")
    assert (accepted.kind, accepted.chars, accepted.shown_chars, accepted.client) == ("accepted", 9, 9, "vim")


def test_without_events_there_is_no_file(file_store: Store, tmp_path: Path) -> None:
    file_store.store.put([])
    file_store.store.close()
    assert list(tmp_path.iterdir()) == []


def test_closing_writes_the_waiting_events(file_store: Store) -> None:
    file_store.store.put([event(name=f"c{number}") for number in range(2_500)])
    file_store.store.close()
    assert len(file_store.rows()) == 2_500


def test_duplicates_count_once(file_store: Store) -> None:
    again = [event(), event(choice=1), event("survived", after_s=30, kept_ratio=0.5, chars=8)]
    again.append(event("survived", after_s=120, kept_ratio=0.25, chars=8))
    for _ in range(2):
        file_store.store.put([*again, *again])
        time.sleep(0.4)
    file_store.store.close()
    assert len(file_store.rows()) == 4
    assert file_store.metric("acepilot_events_total", kind="shown") == 2
    assert file_store.metric("acepilot_survival_looked_at_chars_total", after_s="30") == 8
    assert file_store.metric("acepilot_survival_kept_chars_total", after_s="120") == 2


@pytest.mark.parametrize("pause_s", [0.0, 0.4])
def test_an_event_of_partial_acceptance_grows(file_store: Store, pause_s: float) -> None:
    pieces = [event("partly_accepted", chars=chars) for chars in (4, 7, 6)]
    for one in (*pieces, event("accepted", chars=9)):
        file_store.store.put([one])
        time.sleep(pause_s)
    file_store.store.close()
    assert [(row.kind, row.chars) for row in file_store.rows()] == [("partly_accepted", 7), ("accepted", 9)]
    assert file_store.metric("acepilot_accepted_chars_total", language="python") == 9
    assert file_store.metric("acepilot_events_total", kind="partly_accepted") == 1


def test_a_restarted_server_continues_the_file(file_store: Store) -> None:
    for number in range(2):
        store = Store(file_store.url)
        store.store.put([event(), event(name=f"n{number}")])
        store.store.close()
    assert [row.completion_id for row in file_store.rows()] == ["c1", "n0", "n1"]


def test_a_name_that_databases_refuse_stops_nothing(file_store: Store) -> None:
    file_store.store.put([event(name="a\0b", language="\0"), event(name="after")])
    file_store.store.close()
    assert [row.completion_id for row in file_store.rows()] == ["ab", "after"]


def test_invented_names_do_not_multiply_the_counters(file_store: Store) -> None:
    made_up = [event(name=f"c{n}", model=f"model {n}", language=f"l{n}") for n in range(20)]
    file_store.store.put([*made_up, event(name="real")])
    file_store.store.close()
    shown = {
        (sample.labels["language"], sample.labels["model"]): sample.value
        for metric in file_store.registry.collect()
        for sample in metric.samples
        if sample.name == "acepilot_events_total"
    }
    assert shown == {("other", "other"): 20, ("python", "m"): 1}


@contextlib.contextmanager
def on_begin(act: Callable[[sa.Connection], object]) -> Iterator[None]:
    """Call `act` at the beginning of each transaction of this process."""
    listen(sa.Engine, "begin", act)
    try:
        yield
    finally:
        remove(sa.Engine, "begin", act)


def logged(logs: list[Any], name: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == name]


def test_a_disk_that_takes_nothing_is_said_once_and_outlived(file_store: Store, tmp_path: Path) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("a file in place of the folder")
    with capture_logs() as logs:
        file_store.store.put([event()])
        file_store.until(lambda: file_store.metric("acepilot_events_store_failing") == 1)
        time.sleep(0.5)
        blocked.unlink()
        file_store.until(lambda: file_store.metric("acepilot_events_total", kind="shown") == 1)
    (failed,) = logged(logs, "events_not_stored")
    assert "folder" in failed["where"]
    assert len(logged(logs, "events_stored_again")) == 1
    assert file_store.metric("acepilot_events_store_failing") == 0
    assert file_store.metric("acepilot_events_lost_total") == 0


@pytest.mark.parametrize(
    ("obstacle", "no_obstacle", "why"),
    [
        # SQLite's limit of pages causes the same error as a full disk.
        ("PRAGMA max_page_count=1", "PRAGMA max_page_count=1000000", "full"),
        ("PRAGMA query_only=ON", "PRAGMA query_only=OFF", "readonly"),
    ],
)
def test_a_full_or_read_only_disk(file_store: Store, obstacle: str, no_obstacle: str, why: str) -> None:
    file_store.store.put([event()])
    file_store.until(lambda: file_store.metric("acepilot_events_total", kind="shown") == 1)
    pragma = obstacle
    with on_begin(lambda connection: connection.exec_driver_sql(pragma)), capture_logs() as logs:
        file_store.store.put([event(name=f"c{n}", client="x" * 128) for n in range(2, 502)])
        file_store.until(lambda: file_store.metric("acepilot_events_store_failing") == 1)
        (failed,) = logged(logs, "events_not_stored")
        assert why in failed["why"]
        pragma = no_obstacle
        file_store.until(lambda: file_store.metric("acepilot_events_total", kind="shown") == 501)
    assert file_store.metric("acepilot_events_lost_total") == 0


def test_closing_counts_events_that_cannot_be_written(file_store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file in place of the folder")
    file_store.store.put([event(), event(name="c2")])
    file_store.until(lambda: file_store.metric("acepilot_events_store_failing") == 1)
    file_store.store.close()
    assert file_store.metric("acepilot_events_lost_total") == 2


def test_events_after_the_end_count_as_lost(file_store: Store) -> None:
    file_store.store.close()
    with capture_logs() as logs:
        file_store.store.put([event(), event(name="c2")])
    assert file_store.metric("acepilot_events_lost_total") == 2
    assert logged(logs, "events_lost")[0]["count"] == 2


def test_a_database_that_blocks_the_end_is_abandoned(url: sa.URL) -> None:
    """Nobody knows whether the batch in hand was written, so it counts as lost with the rest."""
    file_store = Store(url, close_timeout_s=0.1)
    file_store.store.put([event()])
    file_store.until(lambda: file_store.metric("acepilot_events_total", kind="shown") == 1)
    blocker = sqlite3.connect(url.database or "", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    writes = threading.Event()
    try:
        with on_begin(lambda _: writes.set()):
            file_store.store.put([event(name="c2"), event(name="c3")])
            assert writes.wait(10)
        file_store.store.close()
        assert file_store.metric("acepilot_events_lost_total") == 2
    finally:
        blocker.close()
    for thread in threading.enumerate():
        if thread.name == "events":
            thread.join(10)


def test_a_host_that_does_not_answer_is_soon_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = Store(database_url(f"postgresql://u:secret@127.0.0.1:{port}/d?connect_timeout=2"))
        with capture_logs() as logs:
            store.store.put([event()])
            store.until(lambda: store.metric("acepilot_events_store_failing") == 1)
            store.store.close()
    (failed,) = logged(logs, "events_not_stored")
    assert "secret" not in str(failed)
    assert store.metric("acepilot_events_lost_total") == 1


def test_waiting_events_are_bounded(url: sa.URL, tmp_path: Path) -> None:
    file_store = Store(url, capacity=100)
    (tmp_path / "folder").write_text("")
    for number in range(30):
        file_store.store.put([event(name=f"c{number}-{n}") for n in range(10)], f"client {number % 2}")
    file_store.until(lambda: file_store.metric("acepilot_events_store_failing") == 1)
    file_store.until(lambda: file_store.metric("acepilot_events_lost_total") == 200)
    file_store.store.close()


def test_a_database_of_a_newer_version_is_left_alone(file_store: Store) -> None:
    file_store.store.put([event()])
    file_store.store.close()
    with sqlite3.connect(file_store.url.database or "") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    store = Store(file_store.url)
    with capture_logs() as logs:
        store.store.put([event(name="c2")])
        store.until(lambda: store.metric("acepilot_events_store_failing") == 1)
        store.store.close()
    assert "9999" in logged(logs, "events_not_stored")[0]["why"]
    assert len(file_store.rows()) == 1


def test_migrations_create_the_table_of_the_code(tmp_path: Path) -> None:
    database = open_database(database_url(f"sqlite:///{tmp_path}/e.sqlite3"))
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_the_statements_for_postgresql() -> None:
    dialect = postgresql.dialect()
    made = str(CreateTable(events).compile(dialect=dialect))
    assert "id BIGSERIAL NOT NULL" in made
    assert "latency_ms DOUBLE PRECISION" in made
    for given in ("postgresql://u:p@h/d", "postgres://u:p@h/d"):
        url = database_url(given)
        assert url.drivername == "postgresql+psycopg"
        assert url.query["connect_timeout"] == "5"
    assert database_url("postgresql://u:p@h/d?connect_timeout=60").query["connect_timeout"] == "60"

    class Engine:
        dialect = postgresql.dialect()

    inserted = str(insert_new(Engine()).compile(dialect=dialect))  # type: ignore[arg-type]
    assert "ON CONFLICT DO NOTHING" in inserted


def test_the_home_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "a b?#%"))
    assert Path(database_url(None).database or "") == tmp_path / "a b?#%" / "events.sqlite3"


@pytest.mark.parametrize("limits", [{"per_hour": 50}, {"capacity": 100, "gather_s": 5.0}])
def test_one_client_takes_neither_the_hour_nor_the_queue_of_another(url: sa.URL, limits: Any) -> None:
    store = Store(url, **limits)
    flood = [event(name=f"c{number}") for number in range(200)]
    assert store.store.put(flood, "attacker") == 50
    assert store.store.put([event(name="again")], "attacker") == 0
    assert store.store.put([event(name="honest"), event(name="honest")], "victim") == 1
    assert store.metric("acepilot_events_lost_total") == 151
    store.store.close()
    assert "honest" in {row.completion_id for row in store.rows()}
