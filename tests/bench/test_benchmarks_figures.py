"""Figures: what counts as which, on measurements made by hand; and the pictures of them."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants
from rich.console import Console
from rich.table import Table

from bench.figures import ghost_times, percentile, replay_figures, setting
from bench.limits import Machine, ModelNeeds, model_needs
from bench.load.load import Cell
from bench.load.server_tables import Measured
from bench.peers.peers import Running, growth
from bench.typing import tables
from bench.typing.editor import PATIENCE_S, Pause
from bench.typing.replay import Replay

IN_TIME = Pause("a:1", gap_s=1.0, waited_s=0.2, answered=True, shown=True, taken_chars=8)
LATE = Pause("a:2", gap_s=1.0, waited_s=3.0, answered=True, shown=True, taken_chars=0)
NOTHING = Pause("a:3", gap_s=1.0, waited_s=0.1, answered=True, shown=False, taken_chars=0)
NO_ANSWER = Pause("a:4", gap_s=1.0, waited_s=PATIENCE_S, answered=False, shown=False, taken_chars=0)
ALL = [IN_TIME, LATE, NOTHING, NO_ANSWER]


def replay_of(pauses: list[Pause], name: str = "acepilot openvino", **changes: object) -> Replay:
    replay = Replay(
        name=name, quantisation="Q8_0", version="1", developers=1, keystrokes=200, asked=210, taken=1,
        kept_chars=8, computed_tokens=4000, cpu_s=10.0, wall_s=60.0, inside={}, pauses=pauses,
    )  # fmt: skip
    return dataclasses.replace(replay, **changes)  # type: ignore[arg-type]


def test_percentiles_lie_between_the_nearest() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert percentile(list(map(float, range(101))), 0.95) == 95.0


def test_who_does_not_answer_waits_for_ever_and_who_says_nothing_has_no_time() -> None:
    assert ghost_times(ALL) == [0.2, 3.0, PATIENCE_S]
    figures = replay_figures(replay_of(ALL))
    assert figures["p50_ms"] == 3000
    assert (figures["answered"], figures["shown"], figures["in_time"]) == (0.75, 0.5, 0.25)
    assert figures["tokens_per_kept_char"] == 500
    assert figures["tokens_per_keystroke"] == 20
    assert figures["cpu_s_per_1000_keys"] == 50


def test_what_was_not_counted_is_not_nothing() -> None:
    assert replay_figures(replay_of(ALL, computed_tokens=0))["tokens_per_kept_char"] is None
    assert replay_figures(replay_of(ALL, kept_chars=0))["tokens_per_kept_char"] is None


def test_metrics_grow_by_name_and_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [
            '# TYPE a:b_total counter\na:b_total{outcome="x",m="\u2028 1"} 1.0\na:b_total{outcome="y"} 5.0\n',
            'a:b_total{outcome="x",m="\u2028 1"} 4.0\na:b_total{outcome="y"} 6.0\nc_total 2.0\n',
        ]
    )
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, text=next(answers)))
    before, after = (Running("http://peer", 1).metrics() for _ in range(2))
    assert growth(before, after, ("a:b_total",), ("x", "z")) == 3
    assert growth(before, after, ("a:b_total", "c_total")) == 6
    assert growth(before, after, ("a:b", "c_total")) == 2
    assert growth(before, after, ()) == 0


def test_limits_count_what_a_token_reads_and_multiplies(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    matrix = quants.quantize(np.ones((64, 32), np.float32), GGMLQuantizationType.Q8_0)
    for name in ("token_embd.weight", "output.weight", "blk.0.ffn_up.weight"):
        writer.add_tensor(name, matrix, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    needs = model_needs(tmp_path / "model.gguf")
    assert needs.token_bytes == 2 * matrix.nbytes + 32 * 4
    assert needs.token_operations == 2 * 64 * 32
    machine = Machine(read=1e9, bf16=4e9, int8=8e9)
    assert needs.tokens_a_second(machine) == pytest.approx(1e9 / needs.token_bytes)
    assert needs.prompt_s(machine, 1000) == pytest.approx(1000 * needs.token_operations / 8e9)


def test_batching_is_the_time_together_over_one_by_one() -> None:
    cells = [
        Cell(32, 1, first_s=0.1, total_s=1.0, decode_rate=10, rate=10.0),
        Cell(32, 16, first_s=0.5, total_s=4.0, decode_rate=4, rate=40.0),
    ]
    assert Measured("ours", "Q8_0", "1", cells, warm_s=0.1, cold_s=1.0).batching == 0.25


def test_tables_divide_ours_by_theirs_and_without_by_with() -> None:
    ours, slow = replay_of(ALL), replay_of([LATE, LATE], "vLLM", computed_tokens=8000, inside={})
    lines = rendered(tables.replay_table([ours, slow]))
    assert "3,000 (1.00)" in lines["pause to ghost text, p50, ms"]
    assert lines["per keystroke"].split() == ["20", "40", "(0.50)"]
    without = replay_of([LATE, LATE], "acepilot openvino without lsp-cache", computed_tokens=8000)
    assert "40 (2.00)" in rendered(tables.lever_table([ours, without]))["lsp-cache"]
    counted = replay_of(ALL, inside={"lsp_cache": 12})
    assert rendered(tables.inside_table([counted, slow]))["answered by the language server's cache"] == "12"


def rendered(table: Table) -> dict[str, str]:
    """Rows by their first cell, as they are printed."""
    console = Console(width=300, file=io.StringIO(), record=True)
    console.print(table)
    rows = [line.strip("│").split("│", 1) for line in console.export_text().splitlines() if "│" in line]
    return {row[0].strip(): row[1].replace("│", " ").strip() for row in rows}


def test_pictures_are_drawn_from_what_is_kept(tmp_path: Path) -> None:
    replays = [replay_of(ALL), replay_of([LATE, LATE], "vLLM")]
    levers = [replay_of(ALL), replay_of(ALL, "acepilot openvino without lsp-cache", computed_tokens=8000)]
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
