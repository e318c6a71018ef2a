"""`POST /v1/events` over HTTP: our own events, Tabby's, and refused ones."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from acepilot.errors import ConfigError
from server.__main__ import parser
from server.events.database import database_url, events
from server.settings import ServerSettings

Serve = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path))
    return tmp_path


def post(server: Any, body: Any, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/events", json=body, timeout=5, **more)


def rows(server: Any, count: int) -> list[Any]:
    """Return the rows of the database once `count` events have been counted."""
    assert server.wait_for(lambda: server.metric("acepilot_events_total") >= count)
    engine = sa.create_engine(database_url(None))
    with engine.connect() as connection:
        found = list(connection.execute(sa.select(events).order_by(events.c.id)))
    engine.dispose()
    return found


def test_a_batch(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    shown = {"completion_id": "c", "kind": "shown", "at": 1.8e9, "model": "m", "latency_ms": 250.0}
    answer = post(server, {"events": [shown, {**shown, "kind": "accepted", "chars": 4}]})
    assert (answer.status_code, answer.json()) == (200, {"taken": 2})
    assert [row.kind for row in rows(server, 2)] == ["shown", "accepted"]
    assert server.metric("acepilot_accepted_chars_total") == 4
    assert server.metric("acepilot_shown_latency_seconds_sum") == 0.25
    assert post(server, {"events": []}).json() == {"taken": 0}


def test_tabby_s_events_are_completed_from_the_trail(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    made = server.complete(prompt="def f(", language="python").json()
    event_body = {"completion_id": made["id"], "choice_index": 0, "view_id": "view-1", "elapsed": 1234}
    agent = {"User-Agent": "Node.js/v24 tabby-agent/1.9.0 Visual-Studio-Code/1.139"}
    for more in (
        {"type": "view"},
        {"type": "select", "select_kind": "line"},
        {"type": "select"},
        {"type": "dismiss"},
    ):
        assert post(server, {**event_body, **more}, headers=agent).status_code == 200
    found = rows(server, 4)
    assert [row.kind for row in found] == ["shown", "partly_accepted", "accepted", "rejected"]
    for row in found:
        assert (row.completion_id, row.model, row.language) == (made["id"], "scripted", "python")
        assert row.client == agent["User-Agent"]
        assert abs(row.at - time.time()) < 60
    assert found[0].latency_ms > 0


def test_tabby_s_events_get_the_length_of_the_offered_text(serve: Serve, scripted: Any) -> None:
    scripted.script = "name = '😀'"
    server = serve(scripted)
    for number, cached in enumerate((False, True)):
        made = server.complete(prompt="the_", language="python", temperature=0).json()
        trail = server.get(f"/v1/explain/{made['id']}").json()
        assert (trail["cache"] != "none") == cached
        assert trail["offered_chars"] == [len(scripted.script) + 1], "😀 is two of UTF-16's units"
        event_body = {"completion_id": made["id"], "choice_index": 0}
        for event in ({"type": "view"}, {"type": "select"}, {"type": "dismiss"}):
            assert post(server, {**event_body, **event}).status_code == 200
        shown, accepted, rejected = rows(server, 3 * (number + 1))[-3:]
        assert shown.shown_chars == accepted.shown_chars == rejected.shown_chars == 11
        assert (shown.chars, accepted.chars, rejected.chars) == (0, 11, 0)
    assert server.metric("acepilot_accepted_chars_total") == 22


def test_a_trail_has_the_length_of_each_choice(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    made = server.complete(prompt="x", n=2).json()
    assert server.get(f"/v1/explain/{made['id']}").json()["offered_chars"] == [len(scripted.script)] * 2
    event_body = {"type": "select", "completion_id": made["id"], "choice_index": 9}
    assert post(server, event_body).status_code == 200
    assert rows(server, 1)[0].chars == 0


def test_tabby_s_select_kind_may_be_in_the_query(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    event_body = {"type": "select", "completion_id": "c"}
    assert post(server, event_body, params={"select_kind": "line"}).status_code == 200
    assert [row.kind for row in rows(server, 1)] == ["partly_accepted"]
    assert post(server, event_body, params={"select_kind": "l" * 17}).status_code == 422


def test_the_served_model_has_its_own_counter(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    made_up = [
        {"completion_id": f"c{number}", "kind": "shown", "at": 1.0, "model": f"m{number}"}
        for number in range(60)
    ]
    post(server, {"events": made_up})
    post(server, {"events": [{"completion_id": "c", "kind": "shown", "at": 1.0, "model": "scripted"}]})
    assert server.wait_for(lambda: server.metric("acepilot_events_total") == 61)
    assert server.metric("acepilot_events_total", model="scripted") == 1
    assert server.metric("acepilot_events_total", model="other") == 60


def test_tabby_s_event_about_an_unknown_completion(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    assert post(server, {"type": "view", "completion_id": "gone", "choice_index": 1}).status_code == 200
    (row,) = rows(server, 1)
    assert (row.completion_id, row.choice, row.model, row.latency_ms) == ("gone", 1, "", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": [{"completion_id": "c", "kind": "seen", "at": 1}]}, "kind"),
        ({"events": [{"completion_id": "c", "kind": "shown", "at": 1, "text": "secret = 1"}]}, "text"),
        ({"events": [{"completion_id": "c", "kind": "shown", "at": 1}] * 1001}, "events"),
        ({"type": "secret", "completion_id": "c"}, "type"),
        ({"type": "view"}, "completion_id"),
        (["secret"], "dictionary"),
    ],
)
def test_a_wrong_event_is_refused_and_not_quoted(serve: Serve, scripted: Any, body: Any, field: str) -> None:
    answer = post(serve(scripted), body)
    assert answer.status_code == 422
    assert field in answer.json()["error"]["message"]
    assert "secret" not in answer.text


def test_the_token_is_required_here_too(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, token="t")
    assert post(server, {"events": []}).status_code == 401
    assert post(server, {"events": []}, headers={"Authorization": "Bearer t"}).status_code == 200


def test_a_database_that_fails_stops_nothing(serve: Serve, scripted: Any, home: Path) -> None:
    (home / "events.sqlite3").mkdir()
    server = serve(scripted)
    for number in range(20):
        event = {"completion_id": f"c{number}", "kind": "shown", "at": 1.0}
        assert post(server, {"events": [event]}).json() == {"taken": 1}
    assert server.complete(prompt="def f(", language="python").status_code == 200
    assert server.wait_for(lambda: server.metric("acepilot_events_store_failing") == 1)


def test_the_database_s_url_is_checked_and_has_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--events-url" not in parser().format_help()
    monkeypatch.setenv("ACEPILOT_EVENTS_URL", "mysql://u:secret@h/d")
    with pytest.raises(ConfigError, match=r"events_url.*postgresql://") as caught:
        ServerSettings.load()
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["postgresql://acepilot:s3cr@t:hunter2@db/n", "postgresql://acepilot:s3cr@hunter2@db/n", "postgresql"],
)
def test_a_mistyped_database_url_is_not_quoted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_EVENTS_URL", url)
    with pytest.raises(ConfigError, match=r"events_url.*percent-encode") as caught:
        ServerSettings.load()
    assert not [part for part in ("s3cr", "hunter2") if part in caught.value.message]
