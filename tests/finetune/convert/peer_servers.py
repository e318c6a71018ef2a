"""Start llama.cpp's or vLLM's server on a free port, if an environment variable names the program."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import httpx

from tests.needs import missing

PEERS = {"ACEPILOT_TEST_VLLM": "vLLM", "ACEPILOT_TEST_LLAMA_SERVER": "llama.cpp"}


def program(variable: str) -> str:
    """Return the path in an environment variable; skip the test if it names no file."""
    path = os.environ.get(variable, "")
    if not Path(path).is_file():
        missing(PEERS[variable], f"make test-slow {variable}=/path/to/it")
    return path


@contextlib.contextmanager
def serving(command: list[str], log: Path, **environment: str) -> Generator[httpx.Client]:
    """Run `command`, with `{port}` replaced, and yield a client once the server answers `/health`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with log.open("w") as output:
        server = subprocess.Popen(
            [part.replace("{port}", port) for part in command],
            stdout=output,
            stderr=output,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            while not _answers(client):
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield client
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False
