"""The pictures of figures in JSON files."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from bench.figures import setting
from bench.limits import Machine, ModelNeeds
from bench.load.load import Cell
from bench.load.server_tables import Measured
from tests.bench.replays import ALL_PAUSES, LATE, replay_of


def test_pictures_are_drawn_from_json(tmp_path: Path) -> None:
    replays = [replay_of(ALL_PAUSES), replay_of([LATE, LATE], "vLLM")]
    levers = [
        replay_of(ALL_PAUSES),
        replay_of(ALL_PAUSES, "acepilot openvino without lsp-cache", computed_tokens=8000),
    ]
    cells = [Cell(size, 1, 0.1, 1.0, 10.0, 10.0) for size in (32, 512)]
    documents = {
        "one": {"replays": [dataclasses.asdict(one) for one in replays]},
        "levers": {"replays": [dataclasses.asdict(one) for one in levers]},
        "server": {
            "measured": [dataclasses.asdict(Measured("ours", "Q8_0", "1", cells, 0.1, 1.0))],
            "machine": dataclasses.asdict(Machine(1e9, 1e9, 1e9)),
            "needs": dataclasses.asdict(ModelNeeds(1000, 2000)),
        },
    }
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"setting": setting(), **document}))
    script = Path(__file__).resolve().parents[2] / "scripts" / "plot_benchmarks.py"
    files = [str(tmp_path / f"{name}.json") for name in documents]
    subprocess.run([sys.executable, str(script), *files, "--out", str(tmp_path)], check=True)
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    assert set(drawn) == {"one.svg", "one-cost.svg", "levers.svg", "server.svg"}
    assert "vLLM" in drawn["one.svg"]
    assert "lsp-cache" in drawn["levers.svg"]
