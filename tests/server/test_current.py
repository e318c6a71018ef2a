"""`python -m server --model current`: the promoted model, by its own name."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from acepilot.models.promotion import promote
from acepilot.models.registry import models_dir
from acepilot.models.resolve import resolve
from acepilot.settings import home
from server.engine.base import EngineOptions
from server.engine.opening import open_engine
from tests.needs import need_model


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with starter-tiny in its registry as `ours-1`, and nothing promoted."""
    need_model("starter-tiny")
    own = tmp_path / "home"
    (own / "models").mkdir(parents=True)
    (own / "models" / "ours-1").symlink_to(models_dir() / "starter-tiny")
    (home() / "cache").mkdir(exist_ok=True)
    (own / "cache").symlink_to(home() / "cache")  # else the model would be converted again
    monkeypatch.setenv("ACEPILOT_HOME", str(own))
    return own


def start(port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "server", "--model", "current", "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_before_the_first_promotion_the_error_names_the_command(own_home: Path) -> None:
    process = start(0)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "python -m acepilot.models promote NAME --report" in error


def test_the_promoted_model_is_served_under_its_name(own_home: Path) -> None:
    promote("ours-1", None, force_reason="a test of the plumbing")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start(port)
    url = f"http://127.0.0.1:{port}"
    answers: list[dict[str, Any]] = []
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            try:
                answers.append(httpx.get(f"{url}/ready").json())
                if answers[-1]["status"] != "loading":
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        assert [answer["model"] for answer in answers] == ["ours-1"] * len(answers), "also while it loads"
        assert answers[-1]["status"] == "ready"
        assert [card["id"] for card in httpx.get(f"{url}/v1/models").json()["data"]] == ["ours-1"]
    finally:
        process.send_signal(2)
        process.communicate(timeout=15)


def test_auto_opens_the_engine_of_this_machine(own_home: Path) -> None:
    engine = open_engine(resolve("ours-1"), "auto", EngineOptions(max_streams=1, threads=1))
    try:
        assert engine.info.engine == "openvino"
        assert engine.count_tokens("def add(a, b):") > 1
    finally:
        engine.close()
