"""Builds a corpus from scraped folders: cleaned, deduplicated, split, packed, with a manifest and a report.

python scripts/build_corpus.py data/vue --out corpora/vue
python scripts/build_corpus.py data/vue --out corpora/vue --model models/codegen-2b --problems humaneval.jsonl
python scripts/build_corpus.py data/vue --out corpora/mixed --replay corpora/python --replay-share 0.3
python scripts/build_corpus.py data/vue --out corpora/vue --executor slurm --partition cpu
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from acepilot.errors import AcepilotError
from finetune.data.build import build
from finetune.data.executors import Runner
from finetune.data.licences import ALLOWED
from finetune.data.options import BuildOptions


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = BuildOptions(scraped=())
    add = parser.add_argument
    add("scraped", nargs="+", type=Path, help="folders that scrape_repos.py filled")
    add("--out", type=Path, required=True, help="the corpus; must not exist yet")
    add("--allow", action="append", default=[], metavar="SPDX", help="one more licence, as MPL-2.0")
    add("--heldout-share", type=float, default=default.heldout_share, help="of the repositories (0.1)")
    add("--max-file-bytes", type=int, default=default.max_file_bytes, help="larger files are not opened")
    add("--problems", action="append", default=[], type=Path, help="JSONL of evaluation problems to keep out")
    add(
        "--replay",
        action="append",
        default=[],
        type=Path,
        help="another corpus, or JSONL of {text, language}",
    )
    add("--replay-share", type=float, default=default.replay_share, help="of all characters (0.2)")
    add("--instructions", action="append", default=[], type=Path, help="JSONL of {prompt, completion}")
    add("--model", type=Path, help="a model's folder: pack sequences with its tokenizer")
    add("--sequence-tokens", type=int, default=default.sequence_tokens, help="length of a sequence (2048)")
    add(
        "--fim-rate",
        type=float,
        default=default.fim_rate,
        help="share of pieces with the middle moved last (0.5)",
    )
    add("--seed", type=int, default=default.seed)
    add("--workers", type=int, default=-1, help="tasks at a time (all cores)")
    add("--executor", choices=["local", "slurm", "ray"], default="local")
    add("--partition", help="slurm: where to run")
    add("--time-limit", default="4:00:00", help="slurm: of each stage")
    return parser.parse_args()


def main() -> int:
    given = vars(arguments())
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    lists = ("scraped", "problems", "replay", "instructions")
    plain = (
        "heldout_share",
        "max_file_bytes",
        "replay_share",
        "model",
        "sequence_tokens",
        "fim_rate",
        "seed",
    )
    running = {name: given[name] for name in ("executor", "workers", "partition", "time_limit")}
    out: Path = given["out"]

    def told(stage: str, done: int, tasks: int) -> None:
        if console.is_terminal or done == tasks:
            print(
                f"\r{stage}: {done}/{tasks} ",
                end="" if done < tasks else os.linesep,
                file=sys.stderr,
                flush=True,
            )

    try:
        options = BuildOptions(
            allowed=(*ALLOWED, *given["allow"]),
            **{name: tuple(given[name]) for name in lists},
            **{name: given[name] for name in plain},
        )
        manifest = build(options, out, lambda logs: Runner(logs, told=told, **running), console.print)
    except AcepilotError as error:
        console.print(f"[red]error:[/red] {error.message}")
        return 1
    for split, languages in manifest.documents.items():
        amounts = ", ".join(f"{name} {amount.documents}" for name, amount in languages.items())
        console.print(f"{split}: {amounts or 'nothing'}")
    console.print(f"{out}: {manifest.hash}\nread {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
