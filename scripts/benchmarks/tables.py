"""Figures as tables for a terminal: a row a contestant, and ours divided by each peer's."""

from collections.abc import Sequence

from rich.table import Table

from benchmarks.figures import replay_figures
from benchmarks.replay import Replay

COLUMNS = {
    "p50_ms": "pause to ghost text, p50 ms",
    "p95_ms": "p95 ms",
    "in_time": "pauses with it in time",
    "shown": "with it at all",
    "answered": "answered",
    "kept_chars": "characters kept",
    "tokens_per_kept_char": "tokens computed per character kept",
    "tokens_per_keystroke": "per keystroke",
    "cpu_s_per_1000_keys": "CPU s per 1,000 keystrokes",
}
SHARES = ("in_time", "shown", "answered")
LEVER_COLUMNS = ("p50_ms", "p95_ms", "in_time", "tokens_per_keystroke", "cpu_s_per_1000_keys")
RATIOS = ("p50_ms", "p95_ms", "in_time", "tokens_per_kept_char", "cpu_s_per_1000_keys")


def replay_table(replays: Sequence[Replay]) -> Table:
    """All contestants."""
    table = Table("contestant", "weights", *COLUMNS.values(), "pauses", "keystrokes")
    for replay in replays:
        figures = replay_figures(replay)
        cells = [_cell(name, figures[name]) for name in COLUMNS]
        counts = (str(len(replay.pauses)), str(replay.keystrokes))
        table.add_row(f"{replay.name} {replay.version}", replay.quantisation, *cells, *counts)
    return table


def ratio_table(replays: Sequence[Replay]) -> Table:
    """The first contestant over each other one: below 1 is better, except for the share in time."""
    table = Table(f"{replays[0].name} divided by", *(COLUMNS[name] for name in RATIOS))
    ours = replay_figures(replays[0])
    for replay in replays[1:]:
        theirs = replay_figures(replay)
        table.add_row(replay.name, *(_ratio(ours[name], theirs[name]) for name in RATIOS))
    return table


def lever_table(replays: Sequence[Replay]) -> Table:
    """What each lever is worth: without it, and that over the first row, which has all."""
    table = Table("without", *(COLUMNS[name] for name in LEVER_COLUMNS))
    everything = replay_figures(replays[0])
    for replay in replays:
        figures = replay_figures(replay)
        cells = [
            f"{_cell(name, figures[name])} ({_ratio(figures[name], everything[name])})"
            for name in LEVER_COLUMNS
        ]
        table.add_row(", ".join(replay.name.split(" without ")[1:]) or "(nothing)", *cells)
    return table


def inside_table(replays: Sequence[Replay]) -> Table:
    """Who answered our own requests, and what the engine had to compute."""
    table = Table(
        "of our requests", "asked", "from the LSP's cache", "from a live stream", "sent to the server",
        "from its cache", "cancelled or left", "prompt tokens", "of them kept from before", "computed in all",
        "drafted", "of them right", "refused",
    )  # fmt: skip
    for replay in replays:
        if not (inside := replay.inside):
            continue
        prompt, drafted = inside.get("prompt_tokens", 0), inside.get("drafted_tokens", 0)
        sent = inside.get("posted", 0)
        answered = inside.get("fresh", 0)
        cells = [
            replay.asked, inside.get("lsp_cache", 0), inside.get("live_stream", 0), sent,
            inside.get("server_cache", 0), sent - answered, prompt,
            _share(inside.get("reused_tokens", 0), prompt), inside.get("computed_tokens", 0),
            drafted, _share(inside.get("drafts_right", 0), drafted), inside.get("refused", 0),
        ]  # fmt: skip
        table.add_row(replay.name, *map(str, cells))
    return table


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0%}" if name in SHARES else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(ours: float | None, theirs: float | None) -> str:
    return "-" if ours is None or not theirs else f"{ours / theirs:.2f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
