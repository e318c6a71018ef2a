"""`python -m server stats`: figures by language, model and day, as tables and as JSON."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from acepilot.errors import ConfigError
from acepilot.events import CompletionEvent
from server.events import stats
from server.events.database import database_url, open_to_read
from server.events.store import EventStore
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


def write_history() -> None:
    """Write 20 events `shown` in Python, with latencies of 10 ms to 200 ms, and one in Vue the day after."""
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
    write_history()
    assert stats.main(["--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    python = figures["by_language"]["python"]
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
    assert figures["by_model"]["starter"] == figures["by_day"]["2027-01-15"] == python
    assert figures["by_model"]["tuned"] == figures["by_day"]["2027-01-16"] == figures["by_language"]["vue"]
    assert figures["by_language"]["vue"]["acceptance_rate"] == 1
    assert (figures["total"]["shown"], figures["total"]["accepted_chars"]) == (21, 45)
    assert figures["total"]["acceptance_rate"] == pytest.approx(3 / 21)


def test_the_tables(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_history()
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
    assert not list(home.iterdir()), "reading creates no file"


def test_other_settings_of_the_server_are_not_needed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server may get its token elsewhere, and the file may have settings of a newer version."""
    monkeypatch.delenv("ACEPILOT_TOKEN", raising=False)
    where = home / "elsewhere.sqlite3"
    (home / "acepilot.toml").write_text(
        f'[server]\nhost = "0.0.0.0"\nnewer = 1\nevents_url = "sqlite:///{where}"\n'
    )
    write({"completion_id": "c", "kind": "shown"})
    (home / "events.sqlite3").rename(where)
    assert stats.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["shown"] == 1


@pytest.mark.parametrize("folder", ["a", "b c?#%"])
def test_reading_changes_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    """Even the version of a newer server's table stays."""
    home = home / folder
    monkeypatch.setenv("ACEPILOT_HOME", str(home))
    write_history()
    connection = sqlite3.connect(home / "events.sqlite3")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = {file.name: file.read_bytes() for file in home.iterdir()}
    assert stats.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["shown"] == 21
    assert {file.name: file.read_bytes() for file in home.iterdir()} == before


def test_the_last_events_of_a_running_server_are_counted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be only in the write-ahead log beside the file."""
    write_history()
    server = sqlite3.connect(home / "events.sqlite3")
    server.execute("PRAGMA wal_autocheckpoint=0")
    server.execute("UPDATE completion_events SET language = 'ruby' WHERE language = 'python'")
    server.commit()
    try:
        assert (home / "events.sqlite3-wal").stat().st_size > 0
        assert stats.main(["--json"]) == 0
    finally:
        server.close()
    assert list(json.loads(capsys.readouterr().out)["by_language"]) == ["ruby", "vue"]


def test_a_database_without_the_table(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "events.sqlite3").touch()
    assert stats.main([]) == 0
    assert "No events yet" in capsys.readouterr().out


def test_names_are_neither_markup_nor_terminal_codes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        {"completion_id": "a", "kind": "shown", "model": "[/x]", "language": "\x1b[31mred"},
        {"completion_id": "b", "kind": "shown", "model": "[v2]", "language": "two\nlines"},
    )
    assert stats.main([]) == 0
    out = capsys.readouterr().out
    for name in ("[/x]", "[v2]", "\ufffd[31mred", "two\ufffdlines"):
        assert name in out
    assert "\x1b" not in out


def test_many_latencies_become_few_numbers(home: Path) -> None:
    write(
        *(
            {"completion_id": f"c{number}", "kind": "shown", "latency_ms": 100 + number * 7.77}
            for number in range(5_000)
        )
    )
    engine = open_to_read(database_url(None))
    with engine.connect() as connection:
        total = stats.read(connection).total
    engine.dispose()
    assert len(total.latencies_ms) < 2_300
    assert total.latency_ms(0.5) == pytest.approx(100 + 2_500 * 7.77, rel=0.01)
    assert total.latency_ms(0.95) == pytest.approx(100 + 4_750 * 7.77, rel=0.01)


def test_a_database_that_cannot_be_read(home: Path) -> None:
    (home / "events.sqlite3").write_text("this is not a database, and long enough to be recognised " * 20)
    with pytest.raises(ConfigError, match=r"events\.sqlite3 cannot be read"):
        stats.main([])


def test_the_command(home: Path) -> None:
    write_history()
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
