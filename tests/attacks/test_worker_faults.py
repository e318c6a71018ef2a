"""Attacks on the worker process: it hangs, is killed, opens a hostile model, or loses its server."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from acepilot.errors import EngineFailed, ModelBroken
from server.engine.base import GenerationRequest
from server.engine.local import LocalEngine
from server.engine.scheduler.limits import WorkerLimits
from tests.attacks import worker_program
from tests.attacks.worker_program import STEP_TOKENS, is_running, worker_ids
from tests.server.conftest import RunningServer
from tests.server.engine.worker_process import until_restarted

ROOT = Path(__file__).parents[2]
LONG_PROMPT = "x" * 4000
"""A sequence of this prompt is larger than a pipe's buffer together with a few others."""

SOON_S = 20.0
"""More than anything takes here, on a machine that others use."""

HASTY = WorkerLimits(silent_s=2.0, first_pause_s=0.05, longest_pause_s=0.2)

Open = Callable[..., LocalEngine]


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Open]:
    """Yield a function that opens the engine; at the end no worker is left."""
    with contextlib.ExitStack() as stack:

        def open_it(limits: WorkerLimits | None = None) -> LocalEngine:
            engine = worker_program.open_engine(tmp_path, **({} if limits is None else {"limits": limits}))
            stack.callback(engine.close)
            return engine

        try:
            yield open_it
        finally:
            for process in worker_ids(tmp_path):  # a stopped process would make an old server wait
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - an engine has no event for this
        await asyncio.sleep(0.01)


async def complete(engine: LocalEngine, prompt: str, max_tokens: int = 2) -> str:
    request = GenerationRequest(prompt, max_tokens)
    return "".join([delta.text async for delta in engine.generate(request)])


def wait_until(condition: Callable[[], Any], within_s: float = 2 * SOON_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.asyncio
async def test_a_stopped_worker_blocks_neither_the_event_loop_nor_the_closing(
    opening: Open, tmp_path: Path
) -> None:
    engine = opening()
    [process] = worker_ids(tmp_path)
    os.kill(process, signal.SIGSTOP)
    rescue = threading.Timer(SOON_S, os.kill, (process, signal.SIGKILL))  # of an event loop that is blocked
    rescue.start()
    running = [asyncio.create_task(complete(engine, LONG_PROMPT)) for _ in range(200)]
    async with asyncio.timeout(SOON_S):
        await until(lambda: engine.load().active == 200)
        for task in running[:100]:
            task.cancel()
        await until(lambda: engine.load().active == 100)
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < SOON_S / 2
    assert not is_running(process)
    rescue.cancel()
    ended = await asyncio.gather(*running[100:], return_exceptions=True)
    assert {type(error) for error in ended} == {EngineFailed}


@pytest.mark.asyncio
async def test_a_step_that_never_ends_fails_its_requests_and_the_worker_is_replaced(opening: Open) -> None:
    engine = opening(HASTY)
    async with asyncio.timeout(SOON_S):
        with pytest.raises(EngineFailed, match="not answered for"):
            await complete(engine, "!")
        await until_restarted(engine)
        assert await complete(engine, "x") == "aa"


@pytest.mark.asyncio
async def test_a_hung_worker_is_replaced_though_all_its_clients_have_left(
    opening: Open, tmp_path: Path
) -> None:
    engine = opening(HASTY)
    async with asyncio.timeout(SOON_S):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(complete(engine, "!"), 0.05)
        await until(lambda: len(worker_ids(tmp_path)) == 2)
        await until_restarted(engine)
        assert await complete(engine, "x") == "aa"


@pytest.mark.asyncio
async def test_an_idle_worker_that_is_stopped_is_replaced(opening: Open, tmp_path: Path) -> None:
    engine = opening(HASTY)
    os.kill(worker_ids(tmp_path)[0], signal.SIGSTOP)
    async with asyncio.timeout(SOON_S):
        await until(lambda: engine.load().trouble)
        await until_restarted(engine)
        assert await complete(engine, "x") == "aa"
    assert not is_running(worker_ids(tmp_path)[0])


@pytest.mark.asyncio
async def test_a_long_step_on_a_slow_machine_is_no_hang(opening: Open, tmp_path: Path) -> None:
    (tmp_path / "token_s").write_text("0.005")
    engine = opening(WorkerLimits(silent_s=0.2))
    assert 0.005 * STEP_TOKENS / 2 > 3 * 0.2, "a step takes much longer than the limit of a fast machine"
    assert await complete(engine, "x" * STEP_TOKENS) == "aa"
    assert len(worker_ids(tmp_path)) == 1


def test_a_server_whose_worker_cannot_restart_is_not_ready_until_it_can(
    opening: Open, tmp_path: Path
) -> None:
    engine = opening(WorkerLimits(first_pause_s=0.2, longest_pause_s=0.8))
    with RunningServer(engine) as server:
        assert server.complete(prompt="x", max_tokens=2).status_code == 200
        (tmp_path / "fails").touch()
        os.kill(worker_ids(tmp_path)[0], signal.SIGKILL)
        wait_until(lambda: "the weights are gone" in server.get("/ready").text)
        ready = server.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "failed")
        started, began = len(worker_ids(tmp_path)), time.monotonic()
        for number in range(30):
            refused = server.complete(prompt=f"x{number}", max_tokens=2)
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) >= 1
        passed_s = time.monotonic() - began
        assert len(worker_ids(tmp_path)) - started <= 3 + passed_s / 0.2
        (tmp_path / "fails").unlink()
        wait_until(lambda: server.get("/ready").status_code == 200)
        assert server.complete(prompt="x", max_tokens=2).status_code == 200


def test_restarts_come_at_growing_intervals(opening: Open, tmp_path: Path) -> None:
    opening(WorkerLimits(first_pause_s=0.05, longest_pause_s=100))
    (tmp_path / "fails").touch()
    os.kill(worker_ids(tmp_path)[0], signal.SIGKILL)
    times: list[float] = []
    while len(times) < 5:
        wait_until(lambda: len(worker_ids(tmp_path)) > len(times) + 1)
        times.append(time.monotonic())
    # The fourth and the fifth restart follow pauses of 0.4 and 0.8 s, and each takes a while itself.
    assert times[3] - times[2] > 0.4
    assert times[4] - times[3] > 0.8


@contextlib.contextmanager
def server_process(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a server in a process of its own, with its URL. At the end neither it nor a worker is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "ACEPILOT_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "tests.attacks.worker_program", str(folder), str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        for worker in worker_ids(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("ends_by", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_server_that_ends_while_its_model_loads_takes_the_worker_along(
    tmp_path: Path, ends_by: signal.Signals
) -> None:
    (tmp_path / "hangs").touch()
    with server_process(tmp_path) as (server, _):
        wait_until(lambda: worker_ids(tmp_path))
        server.send_signal(ends_by)
        server.wait(SOON_S)
        [worker] = worker_ids(tmp_path)
        wait_until(lambda: not is_running(worker))


def test_a_server_whose_worker_is_stopped_answers_health_and_ends_at_sigterm(tmp_path: Path) -> None:
    with server_process(tmp_path) as (server, url), httpx.Client(base_url=url, timeout=SOON_S) as client:
        wait_until(lambda: _is_ready(client))
        [worker] = worker_ids(tmp_path)
        os.kill(worker, signal.SIGSTOP)
        host, port = url.removeprefix("http://").split(":")
        body = f'{{"prompt": "{LONG_PROMPT}", "max_tokens": 4}}'
        head = f"Host: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with contextlib.ExitStack() as clients:
            for _ in range(40):
                connection = clients.enter_context(socket.create_connection((host, int(port))))
                connection.sendall(f"POST /v1/completions HTTP/1.1\r\n{head}{body}".encode())
            wait_until(lambda: _metric(client, "acepilot_active_requests") >= 8)
        assert client.get("/health").status_code == 200
        wait_until(lambda: _metric(client, "acepilot_active_requests") == 0)
        assert client.get("/health").status_code == 200
        server.send_signal(signal.SIGTERM)
        server.wait(SOON_S)
        wait_until(lambda: not is_running(worker))


def _is_ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/ready").status_code == 200
    return False


def _metric(client: httpx.Client, name: str) -> float:
    [value] = [line.split()[1] for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(value)


def test_a_model_that_never_opens_is_given_up(opening: Open, tmp_path: Path) -> None:
    (tmp_path / "hangs").touch()
    with pytest.raises(ModelBroken, match="not open after"):
        opening(WorkerLimits(opening_s=1.0))
    assert not [process for process in worker_ids(tmp_path) if is_running(process)]


def test_a_model_that_takes_all_memory_is_given_up(opening: Open, tmp_path: Path) -> None:
    (tmp_path / "grows").touch()
    with pytest.raises(ModelBroken, match=r"more than 0\.4 GB of memory"):
        opening(WorkerLimits(opening_bytes=400_000_000))
    assert not [process for process in worker_ids(tmp_path) if is_running(process)]


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers"])
def test_a_config_that_claims_a_huge_model_is_refused_at_once(tmp_path: Path, name: str) -> None:
    from server.engine.torch.weights import read_files  # the worker's first step; torch is slow to import
    from tests.server.engine.torch.torch_models import tiny_folder

    model = tiny_folder(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, name: 10**9}))
    with pytest.raises(ModelBroken, match=r"config\.json says"):
        read_files(model)


BUILD = """
import sys
from pathlib import Path
from finetune.corpus.executors import Runner

def step(data, rank, world_size, folder=Path(sys.argv[1])):
    import os, time
    with (folder / "opened").open("a") as opened:
        opened.write(f"{os.getpid()}\\n")
    time.sleep(1000)

Runner(Path(sys.argv[1], "logs"), workers=2).run("stage", [step], 2)
"""


def test_a_killed_build_takes_all_its_processes_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    build = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        wait_until(lambda: len(worker_ids(tmp_path)) == 2)
        assert set(worker_ids(tmp_path)) < set(_session(build.pid))
        build.kill()
        build.wait()
        wait_until(lambda: not _session(build.pid), within_s=SOON_S / 2)
    finally:
        for process in _session(build.pid):
            os.kill(process, signal.SIGKILL)
        build.wait()


def _session(leader: int) -> list[int]:
    """The running processes of a session."""
    found: list[int] = []
    for process in (int(entry.name) for entry in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process) == leader and is_running(process):
                found.append(process)
    return found
