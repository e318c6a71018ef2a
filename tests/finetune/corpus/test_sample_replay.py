"""Replay sampled from the base model: with a scripted server, after a kill, and without a server."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acepilot.errors import DownloadFailed
from acepilot.languages import LANGUAGES
from finetune.corpus.sample_replay import SampleOptions, opening, sample

OPTIONS = SampleOptions(count=3, max_tokens=8, temperature=0.8, parallel=2, seed=7)
LANGUAGE_PAIR = [LANGUAGES["python"], LANGUAGES["go"]]


class Model(http.server.BaseHTTPRequestHandler):
    """Answer every prompt with its seed."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012 - reset by the fixture

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Model.asked.append(body)
        answer = json.dumps({"choices": [{"text": f"seed = {body['seed']}\n"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Model.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.asyncio
async def test_each_language_gets_its_samples(url: str, tmp_path: Path) -> None:
    out, counts = tmp_path / "replay.jsonl", list[int]()
    assert await sample(url, None, LANGUAGE_PAIR, out, OPTIONS, counts.append) == 6
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(record["seed"], record["language"]) for record in records] == [
        (seed, language) for seed in (7, 8, 9) for language in ("go", "python")
    ]
    for record in records:
        start = opening(LANGUAGES[record["language"]], record["seed"])
        assert record["text"] == f"{start}seed = {record['seed']}\n"
    assert {body["mode"] for body in Model.asked} == {"raw"}
    assert counts == [1, 2, 3, 4, 5, 6]


@pytest.mark.asyncio
async def test_a_killed_run_continues_without_its_partial_line(url: str, tmp_path: Path) -> None:
    out = tmp_path / "replay.jsonl"
    await sample(url, None, LANGUAGE_PAIR, out, OPTIONS, lambda done: None)
    whole = out.read_text().splitlines(keepends=True)
    out.write_text("".join(reversed(whole[:4])) + whole[4][:10])
    Model.asked.clear()
    assert await sample(url, None, LANGUAGE_PAIR, out, OPTIONS, lambda done: None) == 6
    assert len(Model.asked) == 2
    assert out.read_text() == "".join(whole)  # whichever answer came first


@pytest.mark.asyncio
async def test_without_a_server_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="python -m server --model BASE"):
        await sample(
            "http://127.0.0.1:9", None, LANGUAGE_PAIR, tmp_path / "r.jsonl", OPTIONS, lambda done: None
        )


def test_an_opening_names_a_file_of_the_language() -> None:
    assert opening(LANGUAGES["python"], 1).startswith("# ")
    assert opening(LANGUAGES["vue"], 1).endswith(".vue -->\n")
    assert opening(LANGUAGES["php"], 1).startswith("<?php\n// ")
    assert opening(LANGUAGES["json"], 1).strip().endswith(".json")
