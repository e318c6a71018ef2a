"""Draw the figures of benchmarks as pictures for docs/benchmarks.md, from their JSON."""

# matplotlib is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import ghost_times, percentile
from bench.typing.editor import PATIENCE_S, Pause

WIDTH, HEIGHT = 7.5, 3.6
SOONEST_S = 0.01
"""The left end of the logarithmic axis, in seconds: 0 cannot be drawn."""

# SVGs keep text as text, and the same data make the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "acepilot", "font.size": 9})


def draw_replay(document: dict[str, Any], target: Path) -> None:
    """Draw the share of pauses that had ghost text over time, a line for each contestant."""

    def draw(axes: Axes) -> None:
        for replay in document["replays"]:
            times = sorted(max(pause.waited_s, SOONEST_S) for pause in _pauses(replay) if pause.shown)
            shares = [number / len(replay["pauses"]) for number in range(len(times) + 1)]
            steps = ([SOONEST_S, *times, PATIENCE_S], [*shares, shares[-1]])
            axes.step(*steps, where="post", label=_label(replay))
        axes.set(xscale="log", xlim=(SOONEST_S, PATIENCE_S), ylim=(0, 1))
        axes.set(xlabel="seconds from the last key", ylabel="share of pauses with ghost text")

    developers = document["replays"][0]["developers"]
    who = "one developer types" if developers == 1 else f"{developers} developers type at once"
    _save(target, f"Ghost text while {who}", draw)


def draw_tokens(document: dict[str, Any], target: Path) -> None:
    """Draw the tokens computed per keystroke and the CPU seconds per 1,000 keystrokes, side by side."""

    def draw(axes: Axes) -> None:
        replays = document["replays"]
        places = range(len(replays))
        tokens = [replay["computed_tokens"] / max(replay["keystrokes"], 1) for replay in replays]
        cpu_s = [replay["cpu_s"] * 1000 / max(replay["keystrokes"], 1) for replay in replays]
        axes.barh([place - 0.2 for place in places], tokens, 0.4, label="tokens computed per keystroke")
        axes.barh([place + 0.2 for place in places], cpu_s, 0.4, label="CPU seconds per 1,000 keystrokes")
        axes.set_yticks(list(places), [_label(replay) for replay in replays])
        axes.invert_yaxis()

    _save(target, "What it costs", draw)


def draw_levers(document: dict[str, Any], target: Path) -> None:
    """Draw the median time to ghost text and the tokens computed without each lever, over those with all
    levers.
    """
    everything, *without = document["replays"]

    def ratio(figure: Callable[[dict[str, Any]], float | None], replay: dict[str, Any]) -> float:
        ours, theirs = figure(everything), figure(replay)
        return theirs / ours if ours and theirs else 0.0

    def draw(axes: Axes) -> None:
        places = range(len(without))
        for shift, name, figure in ((-0.2, "time to ghost text, p50", _median), (0.2, "tokens", _tokens)):
            ratios = [ratio(figure, replay) for replay in without]
            axes.barh([place + shift for place in places], ratios, 0.4, label=f"{name}: without / with")
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(list(places), [replay["name"].partition("without ")[2] for replay in without])
        axes.invert_yaxis()

    _save(target, "What each lever is worth", draw)


def draw_server(document: dict[str, Any], target: Path) -> None:
    """Draw one client's time to the first token over the prompt's length, beside the machine's limit."""

    def draw(axes: Axes) -> None:
        sizes: list[int] = []
        for one in document["measured"]:
            cells = [cell for cell in one["cells"] if cell["clients"] == 1]
            sizes = [cell["prompt_tokens"] for cell in cells]
            axes.plot(sizes, [cell["first_s"] for cell in cells], marker="o", label=_label(one))
        needs, machine = document["needs"], document["machine"]
        second_s = needs["token_operations"] / max(machine["bf16"], machine["int8"])
        axes.plot(sizes, [size * second_s for size in sizes], "k--", label="limit of the multipliers")
        axes.set(xscale="log", yscale="log", xlabel="prompt tokens", ylabel="seconds to the first token")
        axes.set_xticks(sizes, [str(size) for size in sizes])

    _save(target, "One client, nothing known before", draw)


def _median(replay: dict[str, Any]) -> float | None:
    return percentile(ghost_times(_pauses(replay)), 0.5)


def _tokens(replay: dict[str, Any]) -> float | None:
    return replay["computed_tokens"] / max(replay["keystrokes"], 1)


def _pauses(replay: dict[str, Any]) -> Sequence[Pause]:
    return [Pause(**pause) for pause in replay["pauses"]]


def _label(entry: dict[str, Any]) -> str:
    return f"{entry['name']} ({entry['quantisation']})"


def _save(target: Path, title: str, draw: Callable[[Axes], None]) -> None:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(target, metadata={"Date": None})
