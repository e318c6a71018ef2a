"""The store of events on a real PostgreSQL, if one is installed or named by a variable."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import DBAPIError

from acepilot.events import CompletionEvent
from server.events import stats
from server.events.database import database_url, events, open_to_read
from server.events.store import EventStore
from server.metrics import EventMetrics
from tests.needs import missing


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL in ACEPILOT_TEST_POSTGRESQL_URL, or of a server that ends with these tests."""
    if given := os.environ.get("ACEPILOT_TEST_POSTGRESQL_URL"):
        yield given
        return
    debian = Path("/usr/lib/postgresql").glob("*/bin")  # Debian does not put it on PATH
    programs = os.pathsep.join([os.environ["PATH"], *map(str, debian)])
    initdb, postgres = (shutil.which(name, path=programs) for name in ("initdb", "postgres"))
    if not (initdb and postgres):
        missing("PostgreSQL", "apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="acepilot-postgresql-") as folder:
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            try:
                shutil.chown(folder, "postgres", "postgres")
            except LookupError:
                missing("the user postgres", "useradd --system postgres")
            identity = {"user": "postgres", "group": "postgres", "extra_groups": []}
        data = f"{folder}/data"
        made = [initdb, "-D", data, "-A", "trust", "-U", "acepilot", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **identity)
        command = [postgres, "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder, **identity)
        try:
            url = f"postgresql://acepilot@/postgres?host={folder}"
            _wait_for(database_url(url))
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _wait_for(url: sa.URL) -> None:
    engine = sa.create_engine(url)
    deadline = time.monotonic() + 30
    while True:
        try:
            engine.connect().close()
            break
        except DBAPIError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    engine.dispose()


def event(name: str, kind: str = "shown", **more: Any) -> CompletionEvent:
    return CompletionEvent.model_validate(
        {"completion_id": name, "kind": kind, "at": 1.8e9, "model": "m", "language": "python", **more}
    )


def test_two_servers_share_a_database(postgresql: str) -> None:
    name = uuid.uuid4().hex
    registries = [CollectorRegistry(), CollectorRegistry()]
    for registry in registries:
        metrics = EventMetrics(registry)
        metrics.keep_label("m")
        store = EventStore(database_url(postgresql), metrics)
        store.put([event(name, latency_ms=10), event(name, "partly_accepted", chars=3), event(f"{name}\0b")])
        time.sleep(0.6)
        store.put([event(name, "partly_accepted", chars=5), event(name, "accepted", chars=9)])
        store.close()
    engine = open_to_read(database_url(postgresql))
    with engine.connect() as connection:
        columns = events.c.completion_id, events.c.kind, events.c.chars
        ours = events.c.completion_id.startswith(name)
        rows = {tuple(row) for row in connection.execute(sa.select(*columns).where(ours))}
    engine.dispose()
    assert rows == {
        (name, "shown", 0),
        (name, "partly_accepted", 5),
        (name, "accepted", 9),
        (f"{name}b", "shown", 0),
    }
    labels = {"kind": "shown", "language": "python", "model": "m"}
    first, second = (registry.get_sample_value("acepilot_events_total", labels) for registry in registries)
    assert (first, second) == (2, None), "an event counts only in the server that stored it"


def test_stats_read_and_change_nothing(
    postgresql: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = uuid.uuid4().hex
    store = EventStore(database_url(postgresql), EventMetrics(CollectorRegistry()))
    store.put(event(f"{model}{n}", latency_ms=10.0 * n, model=model) for n in range(1, 21))
    store.put([event(f"{model}1", "accepted", chars=7, model=model)])
    store.close()
    monkeypatch.setenv("ACEPILOT_EVENTS_URL", postgresql)
    assert stats.main(["--json"]) == 0
    stats_json = json.loads(capsys.readouterr().out)["by_model"][model]
    assert (stats_json["shown"], stats_json["acceptance_rate"], stats_json["accepted_chars"]) == (20, 0.05, 7)
    assert (stats_json["latency_p50_ms"], stats_json["latency_p95_ms"]) == (100, 190)
    engine = open_to_read(database_url(postgresql))
    with engine.connect() as connection, pytest.raises(DBAPIError, match="read-only"):
        connection.execute(sa.delete(events))
    engine.dispose()
