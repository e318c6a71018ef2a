"""Attacks on a running server: its settings, its log, its events, its metrics, and what strangers read."""

import contextlib
import grp
import json
import os
import pwd
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from acepilot.errors import ConfigError
from acepilot.models.resolve import resolve
from server.settings import ServerSettings
from tests.attacks.server_process import MARKER, ROOT, Server, serving
from tests.needs import need_model

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def model() -> Path:
    need_model("starter-tiny")
    return resolve("starter-tiny").path


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)


# Settings of a stranger's folder


def start_in(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of ours in a folder; its port is taken, so that a server ends by itself."""
    environment = {"ACEPILOT_HOME": str(folder.parent / "home"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-P", "-m", *command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that the user made, with a stranger's files in it."""
    folder = tmp_path / "clone"
    folder.mkdir(mode=0o755)
    return folder


@pytest.mark.parametrize(
    "line",
    [
        'upstream = "http://127.0.0.1:9"',
        'engine = "upstream"',
        'events_url = "sqlite:////tmp/stolen"',
        'host = "127.0.0.2"',
        'model = "owner/hostile"',
        'token = "known"',
        'upstream_token = "known"',
        "port = 9999",  # another user may listen on the port that the editors expect
        "kv_cache_gb = 10000",
    ],
)
def test_a_clone_cannot_choose_where_code_goes(clone: Path, line: str) -> None:
    refused(clone, line)


@pytest.mark.parametrize("line", ["events_days = 1", 'log_level = "error"'])
def test_a_clone_can_neither_delete_statistics_nor_hide_what_happens(clone: Path, line: str) -> None:
    refused(clone, line)


def refused(clone: Path, line: str) -> None:
    (clone / "acepilot.toml").write_text(f"[server]\nthreads = 1\n{line}\n")
    ended = start_in(clone, "server", "--model=no-such-model")
    assert ended.returncode == 2
    assert f"sets {line.split()[0]}, which a file in the working directory may not" in ended.stderr
    assert "no-such-model" not in ended.stderr, "nothing was done before"


def test_a_clone_cannot_choose_what_is_evaluated_or_run(clone: Path) -> None:
    (clone / "acepilot.toml").write_text("[eval_humaneval]\nunsafe = true\n")
    ended = start_in(clone, "eval_humaneval", "run", "--model=no-such-model")
    assert "sets unsafe, which a file in the working directory may not" in ended.stderr


def test_every_start_says_which_settings_file_was_read(clone: Path) -> None:
    (clone / "acepilot.toml").write_text('[server]\ndtype = "auto"\nthreads = 1\n')
    ended = start_in(clone, "server", "--model=no-such-model")
    assert f"Settings from {clone}/acepilot.toml: dtype, threads." in ended.stderr


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_settings_file_that_others_can_write_is_ignored(clone: Path, place: str) -> None:
    file = clone / "acepilot.toml"
    file.write_text("[server]\nthreads = -1\n")
    (clone if place == "folder" else file).chmod(0o777)
    ended = start_in(clone, "server", "--model=no-such-model")
    assert "threads" not in ended.stderr
    assert f"Ignored {file}: other users may write" in ended.stderr
    assert "chmod go-w" in ended.stderr


def test_a_settings_file_of_another_user_is_ignored(clone: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    file = clone / "acepilot.toml"
    file.write_text("[server]\nthreads = -1\n")
    os.chown(file, 12345, 12345)
    ended = start_in(clone, "server", "--model=no-such-model")
    assert f"Ignored {file}: {file} belongs to another user" in ended.stderr


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_settings_file_of_the_users_own_group_is_read(clone: Path, place: str) -> None:
    """Debian gives each user a group of his own, and a umask with which it can write."""
    user = pwd.getpwuid(os.geteuid())
    if grp.getgrgid(user.pw_gid).gr_name != user.pw_name:
        pytest.skip("this user has no group of his own")
    file = clone / "acepilot.toml"
    file.write_text("[server]\nthreads = 1\n")
    (clone if place == "folder" else file).chmod(0o775)
    ended = start_in(clone, "server", "--model=no-such-model")
    assert f"Settings from {file}: threads." in ended.stderr


@pytest.mark.parametrize("group", ["a group that nobody has", "a group with other members"])
def test_a_settings_file_that_another_group_can_write_is_ignored(clone: Path, group: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    others = grp.getgrnam("users").gr_gid
    file = clone / "acepilot.toml"
    file.write_text("[server]\nthreads = -1\n")
    os.chown(file, -1, 54321 if group == "a group that nobody has" else others)
    file.chmod(0o664)
    ended = start_in(clone, "server", "--model=no-such-model")
    assert f"Ignored {file}: other users may write {file}: if it is yours, run `chmod go-w" in ended.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 90_000, "is not valid TOML"),
        ("a = " + "[" * 90_000, "is not valid TOML"),
        ("a = " + "{b=" * 20_000, "is not valid TOML"),
        ("a = " + "9" * 5_000, "is not valid TOML"),
        ("#" * 5_000_000, "is larger than"),
        ("[server]\n" + ".".join("a" * 10_000) + " = 1", "a: Extra inputs"),
    ],
    ids=["tables", "arrays", "inline", "number", "large", "dots"],
)
@pytest.mark.parametrize("where", ["clone", "home"])
def test_hostile_toml_is_a_sentence(
    clone: Path, monkeypatch: pytest.MonkeyPatch, where: str, text: str, why: str
) -> None:
    folder = clone.parent / where
    folder.mkdir(exist_ok=True)
    (folder / "acepilot.toml").write_text(text)
    monkeypatch.chdir(clone)
    monkeypatch.setenv("ACEPILOT_HOME", str(clone.parent / "home"))
    with pytest.raises(ConfigError) as caught:
        ServerSettings.load()
    assert why in caught.value.message
    assert len(caught.value.message) < 10_000


@pytest.mark.parametrize(
    "text",
    [
        '"\\u001b[2J\\nerror: none" = 1\n',
        '[server]\nthreads = "\\u001b[2J"\n"\\u009b2J" = 1\n"\\u001b]0;owned\\u0007" = 1\n',
        "others may write",
    ],
)
def test_names_in_settings_files_do_not_reach_the_terminal_raw(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "clone\x1b[2J\nSettings from nowhere"
    folder.mkdir()
    (folder / "acepilot.toml").write_text(text)
    folder.chmod(0o777 if text == "others may write" else 0o755)
    ended = start_in(folder, "server", "--model=no-such-model")
    assert ended.returncode == 2
    assert all(char.isprintable() for char in ended.stderr.replace("\n", ""))
    lines = ended.stderr.splitlines()
    assert not any(line.startswith(("Settings from nowhere", "error: none")) for line in lines)


def test_modules_of_the_working_directory_are_not_run(model: Path, clone: Path, tmp_path: Path) -> None:
    """An installed program does not look there, and neither may its worker process."""
    ran = tmp_path / "ran"
    for name in ("server", "acepilot", "uvicorn", "multiprocessing", "structlog"):
        (clone / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r} + ' ')\n")
    program = tmp_path / "acepilot-server"
    program.write_text("from server.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(program), f"--model={model}", "--port=0"],
            cwd=clone,
            env={**os.environ, "ACEPILOT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
    try:
        until(lambda: "model_ready" in (tmp_path / "log").read_text())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert not ran.exists(), f"imported from the clone: {ran.read_text()}"


# What is read without a token


def test_without_the_token_a_failure_shows_no_folder(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path, engine="unloadable", status="failed", ACEPILOT_TOKEN="t") as server:
        stranger = server.get("/ready")
        assert (stranger.status_code, "/srv" in stranger.text) == (503, False)
        assert "token" in stranger.json()["detail"]
        friend = server.get("/ready", headers={"Authorization": "Bearer t"})
        assert "/srv/private/models/ours" in friend.json()["detail"]


# The log


def test_a_log_that_nobody_reads_any_more_fails_no_request(model: Path, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with serving(model, tmp_path, stderr=write_end) as server:
        os.close(write_end)
        os.close(read_end)
        assert [server.complete().status_code for _ in range(3)] == [200] * 3
        assert server.get("/ready").status_code == 200
        assert metric(server, "acepilot_log_lines_dropped_total") >= 3


def test_a_log_whose_reader_does_not_read_stops_no_request(model: Path, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        with serving(model, tmp_path, stderr=write_end) as server, httpx.Client(timeout=10) as client:
            for number in range(800):  # lines for more than a pipe's 64 kB
                body = {"prompt": f"x{number}"}
                assert client.post(f"{server.url}/v1/completions", json=body).status_code == 200
    finally:
        os.close(write_end)
        os.close(read_end)


def test_a_log_on_a_full_disk_fails_no_request(model: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, serving(model, tmp_path, stderr=full) as server:
        assert [server.complete().status_code for _ in range(3)] == [200] * 3
        assert metric(server, "acepilot_log_lines_dropped_total") >= 3


def test_the_first_line_that_can_be_written_again_says_what_is_missing(model: Path, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 1024)
    with serving(model, tmp_path, stderr=write_end) as server:
        server.complete()
        while len(os.read(read_end, 1 << 20)) == 1 << 20:
            pass
        server.complete()
        assert b"log lines were dropped" in os.read(read_end, 1 << 20)
    os.close(write_end)
    os.close(read_end)


def test_an_unexpected_error_takes_no_code_into_the_log(model: Path, tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("wb") as log,
        serving(model, tmp_path, engine="broken", stderr=log) as server,
    ):
        assert server.complete(f"def {MARKER}(").status_code == 500
        body = {"prompt": MARKER, "stream": True}
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{server.url}/v1/completions", json=body, timeout=30)
    text = (tmp_path / "log").read_text()
    assert MARKER not in text
    assert "ValueError" in text, "its type and place are there"


def test_a_flood_of_completions_does_not_fill_the_log(model: Path, tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("wb") as log,
        serving(model, tmp_path, stderr=log) as server,
        httpx.Client(timeout=30) as client,
    ):
        for _ in range(1_500):
            client.post(f"{server.url}/v1/completions", json={"prompt": "x", "max_tokens": 0})
    assert (tmp_path / "log").read_text().count("outcome=") <= 1_001


def closing(redirections: str, *command: str) -> list[str]:
    """Return a command that starts Python with standard files closed."""
    return ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, *command]


def test_a_server_without_standard_error_serves(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path) as free:
        port = free.port
    program = (
        "import sys\nfrom acepilot.cli import program\nfrom tests.attacks.server_process import main\n"
        "sys.exit(program()(main)())"
    )
    environment = {
        "ACEPILOT_HOME": str(tmp_path),
        "ACEPILOT_PORT": str(port),
        "TEST_OPTIONS": '{"open_files": null}',
    }
    environment["TEST_PORT_FILE"] = str(tmp_path / "port")
    process = subprocess.Popen(
        closing("<&- >&- 2>&-", "-c", program, "words", f"--model={model}"),
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    server = Server(f"http://127.0.0.1:{port}", process)

    def is_ready() -> bool:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with contextlib.suppress(httpx.TransportError):
            return server.get("/ready").status_code == 200
        return False

    try:
        until(is_ready)
        assert server.complete().status_code == 200
        post(server, invented(1))
        until(lambda: stored(server) == 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("redirections", ["2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", [("server", "stats", "--json"), ("acepilot.models", "list"), ("lsp",)])
def test_programs_need_no_standard_files(tmp_path: Path, redirections: str, command: tuple[str, ...]) -> None:
    (tmp_path / "acepilot.toml").write_text("[server]\nthreads = 1\n")
    ended = subprocess.run(
        closing(redirections, "-m", *command),
        cwd=ROOT,
        env={**os.environ, "ACEPILOT_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    if command[0] == "server" and ">&-" not in redirections.split():
        assert json.loads(ended.stdout)["total"]["shown"] == 0, "only JSON is on standard output"


def test_messages_of_libraries_do_not_get_into_files_of_ours(tmp_path: Path) -> None:
    """Without standard error, the next file to be opened would get its number."""
    program = (
        "import os, sys\nfrom acepilot.cli import program\n@program()\ndef main():\n"
        " with open(sys.argv[1], 'wb', 0) as file:\n"
        "  file.write(b'ours')\n  os.write(2, b'a library')\n  os.write(1, b'a library')\n return 0\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        closing("<&- >&- 2>&-", "-c", program, str(tmp_path / "file")), cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b"ours"


# Events


def metric(server: Server, name: str) -> float:
    """Return the sum of a metric over its labels."""
    lines = server.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def post(server: Server, *events: dict[str, object]) -> None:
    whole = [{"at": time.time(), **event} for event in events]
    assert httpx.post(f"{server.url}/v1/events", json={"events": whole}, timeout=30).status_code == 200


def invented(number: object, kind: str = "shown", **more: object) -> dict[str, object]:
    return {"completion_id": f"c{number}", "kind": kind, **more}


def rows(home: Path, what: str = "count(*)", where: str = "1") -> list[tuple[object, ...]]:
    query = f"SELECT {what} FROM completion_events WHERE {where}"
    with contextlib.closing(sqlite3.connect(home / "events.sqlite3")) as database:
        return list(database.execute(query))


def stats(home: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", "stats", *flags],
        cwd=ROOT,
        env={**os.environ, "ACEPILOT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stored(server: Server) -> float:
    return metric(server, "acepilot_events_total")


def test_invented_models_and_languages_do_not_fill_the_metrics(model: Path, tmp_path: Path) -> None:
    languages = ("python", "go", "rust", "java", "php", "ruby", "lua", "c", "cpp", "css")
    with serving(model, tmp_path) as server:
        before = len(server.get("/metrics").text)
        for number in range(45):
            batch = [invented(f"{number}-{n}", model=f"m{number}", language=languages[n]) for n in range(10)]
            post(server, *batch)
        until(lambda: stored(server) == 450)
        assert len(server.get("/metrics").text) < before + 20_000


def test_invented_acceptances_do_not_exceed_what_was_shown(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path) as server:
        post(server, invented(0), *(invented(n, "accepted", chars=5) for n in range(5)))
        until(lambda: stored(server) == 6)
    total = json.loads(stats(tmp_path, "--json").stdout)["total"]
    assert total["acceptance_rate"] == 1


def test_copies_of_events_do_not_take_the_place_of_others(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path) as server:
        body = [{"at": 1.0, **invented(n % 10)} for n in range(1_000)]
        with httpx.Client(timeout=30) as client:
            for _ in range(120):
                answer = client.post(f"{server.url}/v1/events", json={"events": body})
                assert (answer.status_code, answer.json()) == (200, {"taken": 10})
        honest = server.complete().json()["id"]
        post(server, {"completion_id": honest, "kind": "shown"})
        until(lambda: rows(tmp_path, "1", f"completion_id = '{honest}'"))
        assert metric(server, "acepilot_events_lost_total") == 0


def test_old_events_are_deleted(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path, "--events-days=30") as server:
        day = 86_400
        post(server, invented(1), invented(2, at=time.time() - 40 * day), invented(3, at=9e10))
        post(server, *(invented(f"r{age}", at=time.time() - age * day) for age in (1, 2)))
        until(lambda: stored(server) == 5)
    with serving(model, tmp_path, "--events-days=30") as server:  # it cleans up once an hour, and at first
        post(server, invented(4))
        until(lambda: rows(tmp_path, "completion_id") == [("c1",), ("c4",), ("cr1",), ("cr2",)])


def damage(file: Path) -> None:
    """Overwrite all pages but the first."""
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


def test_a_damaged_database_of_events_is_moved_aside(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.sqlite3"
    with serving(model, tmp_path) as server:
        post(server, *(invented(n) for n in range(500)))
        until(lambda: stored(server) == 500)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)
    damage(file)
    assert "moves the file aside" in stats(tmp_path).stderr
    with (tmp_path / "log").open("wb") as log, serving(model, tmp_path, stderr=log) as server:
        post(server, invented(1), invented(2))
        until(lambda: stored(server) == 2)
    aside = [one for one in tmp_path.glob("events.sqlite3.damaged-*") if one.name.endswith("Z")]
    assert len(aside) == 1
    assert "events_moved_aside" in (tmp_path / "log").read_text()
    ended = stats(tmp_path, "--json")
    assert json.loads(ended.stdout)["total"]["shown"] == 2
    assert str(aside[0]) in ended.stderr


def test_a_database_damaged_while_the_server_runs_is_moved_aside(model: Path, tmp_path: Path) -> None:
    with serving(model, tmp_path) as server:
        post(server, *(invented(n) for n in range(500)))
        until(lambda: stored(server) == 500)
        with contextlib.closing(sqlite3.connect(tmp_path / "events.sqlite3")) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(tmp_path / "events.sqlite3")
        numbers = iter(range(1_000, 2_000))

        def is_anew() -> bool:
            post(server, invented(next(numbers)))
            return bool(list(tmp_path.glob("events.sqlite3.damaged-*"))) and stored(server) > 500

        until(is_anew)
