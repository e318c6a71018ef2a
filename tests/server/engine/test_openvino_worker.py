"""The worker process of the openvino engine: its crash, its end, and damaged files."""

import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from acepilot.errors import EngineFailed, ModelBroken
from acepilot.models.resolve import resolve
from server.engine.base import EngineOptions, GenerationRequest
from server.engine.openvino.engine import OpenVinoEngine
from tests.needs import need_model
from tests.server.engine.worker_process import kill_while_answering, open_with_process, until_restarted

Opened = tuple[OpenVinoEngine, BaseProcess]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Open an engine, and yield it with its worker process."""
    need_model("starter-tiny")
    model, options = resolve("starter-tiny"), EngineOptions(max_streams=4)
    engine, process = open_with_process(lambda: OpenVinoEngine(model, options))
    yield engine, process
    engine.close()


@pytest.mark.asyncio
async def test_a_crash_fails_its_streams_and_after_the_restart_requests_are_answered(opened: Opened) -> None:
    engine, process = opened
    with pytest.raises(EngineFailed, match="process has ended"):
        await kill_while_answering(engine, process, GenerationRequest("def f():\n", max_tokens=2000))
    await until_restarted(engine)
    answered = [delta async for delta in engine.generate(GenerationRequest("x = ", max_tokens=3))]
    assert answered[-1].finish


@pytest.mark.asyncio
async def test_closing_ends_the_streams_and_the_process(opened: Opened) -> None:
    engine, process = opened
    stream = engine.generate(GenerationRequest("def f():\n", max_tokens=2000))
    await anext(stream)
    engine.close()
    with pytest.raises(EngineFailed, match="closed"):
        async for _ in stream:
            pass
    assert not process.is_alive()


def test_the_context_is_what_the_tokenizer_can_really_encode(opened: Opened) -> None:
    engine, _ = opened
    assert engine.count_tokens(" a" * engine.info.context_tokens) == engine.info.context_tokens


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_damaged_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    need_model("starter-tiny")
    path = tmp_path / "model.gguf"
    if content is None:
        whole = resolve("starter-tiny").gguf
        assert whole is not None
        with whole.open("rb") as file:
            content = file.read(5_000_000)
    path.write_bytes(content)
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    with pytest.raises(ModelBroken, match=r"cannot open .*model\.gguf"):
        OpenVinoEngine(resolve(str(path)), EngineOptions(max_streams=4))


def test_openvino_s_telemetry_is_never_loaded() -> None:
    """The import of openvino alone would send an event over the network."""
    code = (
        "import sys, server.engine.openvino.engine, openvino.tools.ovc as ovc\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]\n"
        "print(type(ovc.telemetry).__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
