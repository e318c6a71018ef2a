"""The whole replay, with the smallest model: servers are started, developers type, and servers are ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import need_model

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.mark.slow
def test_a_replay_counts_tokens_and_leaves_no_process_running(tmp_path: Path) -> None:
    need_model("starter-tiny")
    kept = tmp_path / "replay.json"
    options = ["--model", "starter-tiny", "--keystrokes", "9", "--without", "lsp-cache", "--json", str(kept)]
    subprocess.run(
        [sys.executable, str(SCRIPTS / "replay_typing.py"), *options],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=True,
        timeout=600,
    )
    [replay] = json.loads(kept.read_text())["replays"]
    assert replay["name"] == "acepilot openvino without lsp-cache"
    assert replay["keystrokes"] > 9
    assert replay["pauses"]
    assert replay["computed_tokens"] > 0
    assert replay["inside"]["prompt_tokens"] > replay["inside"]["reused_tokens"] > 0
    assert replay["inside"].get("lsp_cache", 0) == 0
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in commands if str(tmp_path).encode() in command and b"counts" in command]
