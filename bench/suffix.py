"""Fill holes without suffix-aware completion, with it, and with fill-in-the-middle: cost and gain.

    python -m bench suffix                                   Vue, TypeScript and Python
    python -m bench suffix --holes-per-language 100 --json suffix.json

The starter with its fill-in-the-middle hidden (bench/peers/prefix_only.py) stands in for a model that has
none. Every server gets the same holes as an editor would send them, one at a time. The gain is the mean over
holes of the edit similarity less the first server's, with a 95 % interval by bootstrap over the files that
the holes were cut from. docs/suffix.md has results.
"""

import argparse
import dataclasses
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from rich.table import Table

from acepilot.cli import program, text_console
from acepilot.models.resolve import resolve
from acepilot.progress import count_progress
from bench.figures import describe, leave, setting
from bench.peers.servers import HERE, Contestant, serving
from bench.sources import ROOT, package
from eval_humaneval.figures.resampling import resample
from eval_humaneval.holes.cut import cut_holes
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.score import edit_distance

LANGUAGES = ("vue", "typescript", "python")
CANDIDATES = (0, 2, 4)
MAX_TOKENS = 96
TABLE_WIDTH = 110
RESAMPLES = 10_000


@dataclass(frozen=True)
class Filled:
    """A filled hole. `similarity` is from 0 to 1; `tokens` were generated, `scored` were scored."""

    file: str
    exact: bool
    similarity: float
    offered: bool
    seconds: float
    tokens: int
    scored: int


def holes(per_language: int) -> list[Hole]:
    """Return holes of the files that `bench typing` uses and of the files beside them."""
    found = [
        hole for folder in (package(), ROOT) for hole in cut_holes(folder, per_language=per_language, seed=0)
    ]
    wanted = {
        language: [hole for hole in found if hole.problem.language == language] for language in LANGUAGES
    }
    return [hole for language in LANGUAGES for hole in wanted[language][:per_language]]


def contestants(model: str) -> list[Contestant]:
    options = ("--port", "{port}", "--log-level", "error", "--model", model)
    script = (sys.executable, str(HERE / "prefix_only.py"), *options)
    hidden = [
        (f"{number} drafts" if number else "prefix only", (*script, "--suffix-candidates", str(number)))
        for number in CANDIDATES
    ]
    own = ("fill-in-the-middle", (sys.executable, "-m", "server", *options))
    return [Contestant(name, "", "", command, ready_path="/ready") for name, command in (*hidden, own)]


def fill(url: str, hole: Hole) -> Filled:
    problem = hole.problem
    body = {
        "prompt": problem.prompt,
        "suffix": problem.suffix,
        "language": problem.language,
        "path": problem.cluster,
        "max_tokens": MAX_TOKENS,
        "mode": "auto",
    }
    began = time.perf_counter()
    answer = httpx.post(f"{url}/v1/completions", json=body, timeout=600).raise_for_status().json()
    seconds = time.perf_counter() - began
    choice = httpx.get(f"{url}/v1/explain/{answer['id']}", timeout=60).json().get("suffix_choice")
    given, truth = _tidy(answer["choices"][0]["text"]), _tidy(hole.truth)
    return Filled(
        file=problem.cluster,
        exact=given == truth,
        similarity=1 - edit_distance(given, truth) / max(len(given), len(truth), 1),
        offered=bool(given),
        seconds=seconds,
        tokens=answer["usage"]["completion_tokens"],
        scored=choice["scored_tokens"] if choice else 0,
    )


def _tidy(text: str) -> str:
    """Return `text` without white space at the ends of lines."""
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def gain(filled: Sequence[Filled], first: Sequence[Filled]) -> tuple[float, float, float]:
    """Return the mean difference in similarity with its 95 % interval."""
    files = sorted({one.file for one in filled})
    sums, counts = np.zeros((len(files), 1)), np.zeros((len(files), 1))
    for one, other in zip(filled, first, strict=True):
        sums[files.index(one.file)] += one.similarity - other.similarity
        counts[files.index(one.file)] += 1
    means = resample(sums, counts, RESAMPLES, np.random.default_rng(0)).means(0)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(sums.sum() / counts.sum()), float(low), float(high)


def table(results: dict[str, list[Filled]]) -> Table:
    view = Table(
        "", "exact", "edit similarity", "gain (95 %)", "offered", "s, median", "s, mean", "tokens", "scored"
    )
    first = next(iter(results.values()))
    for name, filled in results.items():
        mean, low, high = gain(filled, first)
        seconds = [one.seconds for one in filled]
        view.add_row(
            name,
            f"{statistics.fmean(one.exact for one in filled):.1%}",
            f"{statistics.fmean(one.similarity for one in filled):.3f}",
            "-" if filled is first else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
            f"{statistics.fmean(one.offered for one in filled):.0%}",
            f"{statistics.median(seconds):.2f}",
            f"{statistics.fmean(seconds):.2f}",
            f"{statistics.fmean(one.tokens for one in filled):.0f}",
            f"{statistics.fmean(one.scored for one in filled):.0f}",
        )
    return view


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter", help="starter or starter-tiny (default: starter)")
    parser.add_argument("--holes-per-language", type=int, default=40)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every hole's figures to FILE")
    options = parser.parse_args()
    resolve(options.model)  # a wrong name is reported before files are fetched
    signal.signal(signal.SIGTERM, leave)
    console = text_console()
    console.width = max(console.width, TABLE_WIDTH)
    about, results = setting(), dict[str, list[Filled]]()
    console.print(describe(about))
    logs = Path(tempfile.mkdtemp(prefix="acepilot-suffix-"))
    all_holes = holes(options.holes_per_language)
    for one in contestants(options.model):
        filled = results.setdefault(one.name, [])
        with serving(one, logs) as server, count_progress(one.name, len(all_holes)) as advance:
            for hole in all_holes:
                filled.append(fill(server.url, hole))
                advance(len(filled))
    console.print(table(results), f"{len(all_holes)} holes")
    if options.json:
        kept = {name: [dataclasses.asdict(one) for one in filled] for name, filled in results.items()}
        options.json.write_text(
            json.dumps({"setting": about, "results": kept}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
