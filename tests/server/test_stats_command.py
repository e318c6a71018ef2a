"""`python -m server stats`: figures by language, model and day, as tables and as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from acepilot.events import CompletionEvent
from server import stats
from server.event_database import database_url
from server.event_store import EventStore
from server.metrics import EventMetrics

DAY_S = 86_400
MONDAY = 1_800_000_000.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*events: dict[str, Any]) -> None:
    store = EventStore(database_url(None), EventMetrics(CollectorRegistry()))
    base = {"at": MONDAY, "model": "starter", "language": "python"}
    store.put(CompletionEvent.model_validate({**base, **event}) for event in events)
    store.close()


def a_history() -> None:
    """Twenty shown in Python with latencies 10 ms .. 200 ms; one in Vue the day after."""
    shown = [{"completion_id": f"c{n}", "kind": "shown", "latency_ms": 10.0 * n} for n in range(1, 21)]
    write(
        *shown,
        {"completion_id": "c1", "kind": "partly_accepted", "chars": 4},
        {"completion_id": "c1", "kind": "accepted", "chars": 30},
        {"completion_id": "c2", "kind": "partly_accepted", "chars": 10},
        {"completion_id": "c3", "kind": "typed_through", "chars": 8},
        {"completion_id": "c4", "kind": "rejected"},
        {"completion_id": "c1", "kind": "survived", "after_s": 30, "chars": 30, "kept_ratio": 1.0},
        {"completion_id": "c2", "kind": "survived", "after_s": 30, "chars": 10, "kept_ratio": 0.2},
        {"completion_id": "v", "kind": "shown", "language": "vue", "at": MONDAY + DAY_S, "model": "tuned"},
        {
            "completion_id": "v",
            "kind": "accepted",
            "chars": 5,
            "language": "vue",
            "at": MONDAY + DAY_S,
            "model": "tuned",
        },
    )


def test_the_figures(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_history()
    assert stats.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    python = told["by_language"]["python"]
    assert python == {
        "shown": 20,
        "accepted": 1,
        "partly_accepted": 2,
        "typed_through": 1,
        "rejected": 1,
        "acceptance_rate": 0.1,
        "accepted_chars": 40,
        "kept_ratio": {"30": 0.8, "120": None, "360": None},
        "latency_p50_ms": 100.0,
        "latency_p95_ms": 190.0,
    }
    assert told["by_model"]["starter"] == told["by_day"]["2027-01-15"] == python
    assert told["by_model"]["tuned"] == told["by_day"]["2027-01-16"] == told["by_language"]["vue"]
    assert told["by_language"]["vue"]["acceptance_rate"] == 1
    assert (told["total"]["shown"], told["total"]["accepted_chars"]) == (21, 45)
    assert told["total"]["acceptance_rate"] == pytest.approx(3 / 21)


def test_the_tables(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    a_history()
    assert stats.main([]) == 0
    out = capsys.readouterr().out
    for words in ("by language", "by model", "by day (UTC)"):
        assert words in out
    row = next(line for line in out.splitlines() if "python" in line)
    for figure in ("20", "10.0%", "40", "80.0%", " 100 ", " 190 "):
        assert figure in row
    assert "all days" in out


def test_no_events_yet(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stats.main([]) == 0
    assert "No events yet" in capsys.readouterr().out
    assert stats.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["acceptance_rate"] is None
    assert not list(home.iterdir()), "a look leaves no file"


def test_a_database_that_cannot_be_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "events.sqlite3").write_text("this is no database, and long enough to be seen as none" * 20)
    assert stats.main([]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_command(home: Path) -> None:
    a_history()
    done = subprocess.run(
        [sys.executable, "-m", "server", "stats", "--json"],
        env={**os.environ, "ACEPILOT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["shown"] == 21
