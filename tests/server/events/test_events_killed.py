"""A server that is killed has stored all events that it took more than a second before."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import sqlalchemy as sa

from server.events.database import database_url, events, open_database

LOST_AT_MOST_S = 1.0

SERVER = """
import socket, sys
import uvicorn
from server.app import create_app
from server.settings import ServerSettings

def no_model():
    raise RuntimeError("events need no model")

app = create_app(ServerSettings.load({}), no_model)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run([socket.socket(fileno=int(sys.argv[1]))])
"""


def test_a_killed_server_loses_at_most_the_last_second(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(listening.fileno())],
            env={**os.environ, "ACEPILOT_HOME": str(tmp_path)},
            pass_fds=[listening.fileno()],
            stdout=subprocess.DEVNULL,
        )
    posted_at: dict[str, float] = {}

    def post_event(client: httpx.Client) -> None:
        name = f"c{len(posted_at)}"
        body = {"events": [{"completion_id": name, "kind": "shown", "at": time.time()}]}
        assert client.post("/v1/events", json=body).status_code == 200
        posted_at[name] = time.monotonic()

    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            post_event(client)
            while (
                "acepilot_events_total{" not in client.get("/metrics").text
            ):  # the server is still creating the table
                time.sleep(0.05)
            end = time.monotonic() + 2.5
            while time.monotonic() < end:
                post_event(client)
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            killed_at = time.monotonic()
    finally:
        process.kill()
        process.wait()
    database = open_database(database_url(f"sqlite:///{tmp_path}/events.sqlite3"))  # as the next start does
    with database.engine.connect() as connection:
        stored = set(connection.execute(sa.select(events.c.completion_id)).scalars())
    database.close()
    must_be_stored = {name for name, at in posted_at.items() if at < killed_at - LOST_AT_MOST_S}
    assert len(must_be_stored) > 20
    assert must_be_stored <= stored
    assert stored <= set(posted_at)
