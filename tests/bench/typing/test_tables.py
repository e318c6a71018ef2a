"""The tables of replays."""

import io

from rich.console import Console
from rich.table import Table

from bench.typing import tables
from tests.bench.replays import ALL_PAUSES, LATE, replay_of


def test_tables_divide_ours_by_a_peer_and_without_a_lever_by_with_it() -> None:
    ours, slow = replay_of(ALL_PAUSES), replay_of([LATE, LATE], "vLLM", computed_tokens=8000, inside={})
    lines = rendered(tables.replay_table([ours, slow]))
    assert "3,000 (1.00)" in lines["pause to ghost text, p50, ms"]
    assert lines["per keystroke"].split() == ["20", "40", "(0.50)"]
    without = replay_of([LATE, LATE], "acepilot openvino without lsp-cache", computed_tokens=8000)
    assert "40 (2.00)" in rendered(tables.lever_table([ours, without]))["lsp-cache"]
    counted = replay_of(ALL_PAUSES, inside={"lsp_cache": 12})
    assert rendered(tables.inside_table([counted, slow]))["answered by the language server's cache"] == "12"


def rendered(table: Table) -> dict[str, str]:
    """Return the printed rows by their first cell."""
    console = Console(width=300, file=io.StringIO(), record=True)
    console.print(table)
    rows = [line.strip("│").split("│", 1) for line in console.export_text().splitlines() if "│" in line]
    return {row[0].strip(): row[1].replace("│", " ").strip() for row in rows}
