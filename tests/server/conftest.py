"""Engines for the server's tests: the real ones on starter-tiny, and one that plays a script."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from acepilot.errors import EngineFailed
from acepilot.fim import FORMATS
from acepilot.models.resolve import resolve
from server.app import create_app
from server.engine.base import Delta, Engine, EngineInfo, EngineLoad, EngineOptions, GenerationRequest
from server.engine.openvino.engine import OpenVinoEngine
from server.engine.torch.engine import TorchEngine
from server.engine.upstream.engine import UpstreamEngine
from server.options import DEFAULT_OPTIONS, ServiceOptions
from server.settings import ServerSettings
from tests.needs import need_model

SCRIPTED_INFO = EngineInfo(
    model="scripted",
    engine="scripted",
    context_tokens=4096,
    fim=FORMATS[0],
    special_tokens=frozenset({"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>"}),
)


@dataclass
class ScriptedEngine:
    """Generates `script`, one word a step, for every prompt. A token is a word with the space before it."""

    script: str = "one two three"
    step_s: float = 0.0
    fails_after: int | None = None
    failure: Exception = field(
        default_factory=lambda: EngineFailed("The script says that the engine fails here.")
    )
    prompts: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    open_streams: int = 0
    steps: int = 0
    max_tokens: int = 0
    info: EngineInfo = SCRIPTED_INFO

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        self.prompts.append(request.prompt)
        self.seeds.append(request.seed)
        self.max_tokens = request.max_tokens
        self.open_streams += 1
        try:
            words = _words(self.script)
            for number, word in enumerate(words, start=1):
                await asyncio.sleep(self.step_s)
                self.steps += 1
                if self.fails_after is not None and number > self.fails_after:
                    raise self.failure
                if number == request.max_tokens:
                    yield Delta(word, 1, "length")
                    return
                yield Delta(word, 1, "stop" if number == len(words) else None)
        finally:
            self.open_streams -= 1

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        return [-1.0] * self.count_tokens(continuation)

    def load(self) -> EngineLoad:
        return EngineLoad(self.open_streams, 0.0)

    def close(self) -> None:
        pass


def _words(script: str) -> list[str]:
    words: list[str] = []
    for piece in script.split(" "):
        words.append(piece if not words else f" {piece}")
    return words


@pytest.fixture
def scripted() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture(scope="session")
def tiny_engine() -> Iterator[Engine]:
    need_model("starter-tiny")
    # With float32, neither parallel requests nor the cache can change a token.
    engine = OpenVinoEngine(resolve("starter-tiny"), EngineOptions(max_streams=16, dtype="float32"))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def upstream_engine(tiny_engine: Engine) -> Iterator[Engine]:
    """The same model through HTTP, as another Acepilot serves it."""
    with RunningServer(Shared(tiny_engine)) as server:
        engine = UpstreamEngine(resolve("starter-tiny"), EngineOptions(upstream=(server.url,)))
        yield engine
        engine.close()


@pytest.fixture(scope="session")
def torch_engine() -> Iterator[Engine]:
    need_model("starter-tiny")
    # One thread: two would wait for each other on busy cores.
    options = EngineOptions(max_streams=16, dtype="float32", threads=1)
    engine = TorchEngine(resolve("starter-tiny"), options)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def codegen_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Random weights and one token a byte, with room for the suite's long prompts."""
    from tests.server.engine.torch.torch_models import (  # imports torch, which other tests need not wait for
        codegen,
        save_random,
    )

    folder = save_random(tmp_path_factory.mktemp("codegen"), codegen(n_positions=8192, n_ctx=8192))
    engine = TorchEngine(folder, EngineOptions(max_streams=16, dtype="float32", threads=1))
    yield engine
    engine.close()


ENGINES = {"openvino": "tiny_engine", "torch": "torch_engine", "upstream": "upstream_engine"}
"""Each engine's name and its fixture. A new engine gets a fixture above and a line here; then all tests of
tests/server/engine/test_engine_conformance.py run with it."""


@pytest.fixture(scope="session", params=[*ENGINES, "codegen"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine that this machine can run; the conformance suite runs once with each."""
    return request.getfixturevalue(ENGINES.get(request.param, "codegen_engine"))


@pytest.fixture(scope="session", params=ENGINES)
def trained_engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine with a trained model: the random model's text means nothing."""
    return request.getfixturevalue(ENGINES[request.param])


class RunningServer:
    """The app on a real port, in a thread."""

    def __init__(self, engine: Engine, options: ServiceOptions = DEFAULT_OPTIONS, **settings: object) -> None:
        self.settings = ServerSettings.load({"port": 0, **settings})
        self.app = create_app(self.settings, lambda: engine, options)
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="error", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> "RunningServer":
        self._thread.start()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._server.started and self.get("/ready").status_code == 200:
                return self
            time.sleep(0.01)
        raise TimeoutError("the server did not become ready")

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(timeout=10)

    @property
    def port(self) -> int:
        return self._server.servers[0].sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=10, **kwargs)

    def complete(self, **body: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/completions", json=body, timeout=30)

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value, summed over the labels that are not given."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait_for(self, condition: Callable[[], bool], within_s: float = 5) -> bool:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.01)
        return False


class Shared:
    """An engine that outlives the server under test: the fixture closes it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningServer]]:
    """Return a function that starts servers, which end with the test."""
    with contextlib.ExitStack() as stack:

        def start(
            engine: Engine, options: ServiceOptions = DEFAULT_OPTIONS, **settings: object
        ) -> RunningServer:
            return stack.enter_context(RunningServer(Shared(engine), options, **settings))

        yield start
