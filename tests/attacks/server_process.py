"""A server in a process of its own, as attacks need it: its log, its limits and its folder are the test's.

    python -m tests.attacks.server_process ENGINE [FLAG ...]

serves the engine `words`, which never loads a model's weights, or `broken`, whose errors quote the prompt.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import httpx

from server.__main__ import parser, serve
from server.engine.base import Delta, EngineInfo, EngineLoad, GenerationRequest
from server.options import ServiceOptions
from server.settings import ServerSettings

ROOT = Path(__file__).parents[2]
MARKER = "my_secret_marker"


class Words:
    info = EngineInfo("words", "words", 4096, None, frozenset())

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        yield Delta("one two", 2, "stop")

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        return []

    def load(self) -> EngineLoad:
        return EngineLoad(0, 0.0)

    def close(self) -> None:
        pass


class Broken(Words):
    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        if MARKER in request.prompt:
            raise ValueError(f"cannot tokenize {request.prompt!r}")
        yield Delta("one two", 2, "stop")


class Unloadable(Words):
    def __init__(self) -> None:
        raise RuntimeError("/srv/private/models/ours cannot be read")


ENGINES: dict[str, Callable[[], Any]] = {"words": Words, "broken": Broken, "unloadable": Unloadable}


@dataclass
class Server:
    url: str
    process: subprocess.Popen[Any]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30, **kwargs)

    def complete(self, prompt: str = "x", **kwargs: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/completions", json={"prompt": prompt}, timeout=30, **kwargs)


@contextlib.contextmanager
def serving(
    model: Path,
    home: Path,
    *flags: str,
    engine: str = "words",
    stderr: int | IO[Any] | None = subprocess.DEVNULL,
    open_files: int | None = None,
    options: dict[str, Any] | None = None,
    status: str = "ready",
    **environment: str,
) -> Iterator[Server]:
    """Start a server and wait until `/ready` says `status`. It listens on all addresses of loopback."""
    port_file = home / "port"
    home.mkdir(exist_ok=True)
    port_file.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.attacks.server_process", engine, f"--model={model}", *flags],
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd=ROOT,
        env={
            **os.environ,
            "ACEPILOT_HOME": str(home),
            "ACEPILOT_PORT": str(_free_port()),
            "TEST_OPTIONS": json.dumps({"open_files": open_files, **(options or {})}),
            "TEST_PORT_FILE": str(port_file),
            **environment,
        },
    )
    try:
        deadline = time.monotonic() + 60
        while not port_file.exists():
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        server = Server(f"http://127.0.0.1:{port_file.read_text()}", process)
        while True:
            with contextlib.suppress(httpx.TransportError):
                if server.get("/ready").json()["status"] == status:
                    break
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> int:
    engine, *flags = sys.argv[1:]
    given = json.loads(os.environ["TEST_OPTIONS"])
    hard = given.pop("open_files") or resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    known = {field.name for field in fields(ServiceOptions)}  # so that an old server can be attacked, too
    options = ServiceOptions(**{name: value for name, value in given.items() if name in known})
    settings = ServerSettings.load(vars(parser().parse_args(flags)))
    Path(os.environ["TEST_PORT_FILE"]).write_text(str(settings.port))
    return serve(settings, options, lambda *_: ENGINES[engine]())


if __name__ == "__main__":
    sys.exit(main())
