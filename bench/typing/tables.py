"""Print replays as tables: a column for each contestant, or a row for each lever that is off."""

from collections.abc import Sequence

from rich.table import Table

from bench.figures import replay_figures
from bench.typing.replay import Replay

FIGURES = {
    "p50_ms": "pause to ghost text, p50, ms",
    "p95_ms": "p95, ms",
    "in_time": "pauses with ghost text in time",
    "shown": "with ghost text at all",
    "answered": "answered, with text or nothing",
    "kept_chars": "characters kept",
    "tokens_per_kept_char": "tokens computed per character kept",
    "tokens_per_keystroke": "per keystroke",
    "cpu_s_per_1000_keys": "CPU s per 1,000 keystrokes",
}
SHARES = ("in_time", "shown", "answered")
LEVER_FIGURES = ("p50_ms", "p95_ms", "in_time", "tokens_per_keystroke", "cpu_s_per_1000_keys")
INSIDE = {
    "lsp_cache": "answered by the language server's cache",
    "live_stream": "by the stream of an earlier request",
    "fresh": "by a stream of their own",
    "posted": "requests sent to the server",
    "server_cache": "answered by the server's cache",
    "refused": "refused or failed",
    "prompt_tokens": "prompt tokens",
    "reused_tokens": "of these in the KV cache already",
    "computed_tokens": "tokens computed, drafts included",
    "generated_tokens": "tokens generated",
    "drafted_tokens": "tokens drafted",
    "drafts_right": "of these correct",
}


def replay_table(replays: Sequence[Replay]) -> Table:
    """Return a column for each contestant. In brackets: the first one's figure divided by this one's."""
    first = replay_figures(replays[0])
    table = Table("", *(f"{one.name}\n{one.version}\n{one.quantisation}" for one in replays))
    for name, what in FIGURES.items():
        cells = [_cell(name, first[name])]
        for replay in replays[1:]:
            theirs = replay_figures(replay)[name]
            cells.append(_cell(name, theirs) + _in_brackets(first[name], theirs))
        table.add_row(what, *cells)
    table.add_row("pauses, keystrokes", *(f"{len(one.pauses)}, {one.keystrokes}" for one in replays))
    return table


def lever_table(replays: Sequence[Replay]) -> Table:
    """Return a row for each lever that is off. In brackets: its figure divided by that with all levers."""
    first = replay_figures(replays[0])
    table = Table("without", *(FIGURES[name] for name in LEVER_FIGURES), "pauses")
    for number, replay in enumerate(replays):
        figures = replay_figures(replay)
        cells = [_cell(name, figures[name]) for name in LEVER_FIGURES]
        if number:
            ratios = (_in_brackets(figures[name], first[name]) for name in LEVER_FIGURES)
            cells = [cell + ratio for cell, ratio in zip(cells, ratios, strict=True)]
        table.add_row(replay.name.partition(" without ")[2], *cells, str(len(replay.pauses)))
    return table


def inside_table(replays: Sequence[Replay]) -> Table:
    """Return what answered the requests to our own servers, and what their engines computed."""
    ours = [replay for replay in replays if replay.inside]
    table = Table("", *(replay.name for replay in ours))
    table.add_row("requests from the editor", *(str(replay.asked) for replay in ours))
    for name, what in INSIDE.items():
        table.add_row(what, *(f"{replay.inside.get(name, 0):,}" for replay in ours))
    return table


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0%}" if name in SHARES else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _in_brackets(value: float | None, over: float | None) -> str:
    return "" if value is None or not over else f" ({value / over:.2f})"
