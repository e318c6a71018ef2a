"""Builds a corpus from scraped folders: cleaned, deduplicated, split, packed, with a manifest and a report.

python -m finetune.corpus data/vue --out corpora/vue --model starter --problems problems.jsonl
python -m finetune.corpus data/vue --out corpora/vue --model Salesforce/codegen-2B-multi
python -m finetune.corpus data/vue --out corpora/mixed --replay corpora/python --replay-share 0.3
python -m finetune.corpus data/vue --out corpora/vue --executor slurm --partition cpu

problems.jsonl: python -m eval_humaneval problems --out problems.jsonl
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from acepilot.cli import program, text_console
from acepilot.languages import LANGUAGES
from acepilot.models.resolve import resolve
from finetune.corpus.build import build
from finetune.corpus.executors import Runner
from finetune.corpus.options import BuildOptions
from finetune.scrape.licences import ALLOWED
from finetune.transformers_folder import transformers_folder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = BuildOptions(scraped=())
    add = parser.add_argument
    add("scraped", nargs="+", type=Path, help="folders that scrape_repos.py filled")
    add("--out", type=Path, required=True, help="the corpus; must not exist yet")
    add(
        "--allow",
        dest="allowed",
        action="append",
        default=[*ALLOWED],
        metavar="SPDX",
        help="one more licence",
    )
    add(
        "--language",
        dest="languages",
        action="append",
        default=[],
        choices=sorted(LANGUAGES),
        metavar="ID",
        help="keep this language only, or these; replay is not asked",
    )
    add("--heldout-share", type=float, default=default.heldout_share, help="of the repositories (0.1)")
    add("--max-file-bytes", type=int, default=default.max_file_bytes, help="larger files are not opened")
    add("--problems", action="append", default=[], type=Path, help="JSONL of evaluation problems to keep out")
    add("--replay", action="append", default=[], type=Path, help="a corpus, or JSONL of {text, language}")
    add("--replay-share", type=float, default=default.replay_share, help="of all characters (0.2)")
    add("--instructions", action="append", default=[], type=Path, help="JSONL of {prompt, completion}")
    add("--model", help="to be tuned: pack sequences for it; starter, a folder, a name or a hub id")
    add("--sequence-tokens", type=int, default=default.sequence_tokens, help="length of a sequence (2048)")
    add("--fim-rate", type=float, default=default.fim_rate, help="share of pieces cut for infilling (0.5)")
    add("--seed", type=int, default=default.seed)
    add("--workers", type=int, default=-1, help="tasks at a time (all cores)")
    add("--executor", choices=["local", "slurm", "ray"], default="local")
    add("--partition", help="slurm: where to run")
    add("--time-limit", default="4:00:00", help="slurm: of each stage")
    return parser.parse_args()


@program()
def main() -> int:
    given = vars(arguments())
    console = text_console(stderr=True)
    out: Path = given["out"]
    running = {name: given[name] for name in ("executor", "workers", "partition", "time_limit")}
    shaping: dict[str, Any] = {}
    for name in (field.name for field in fields(BuildOptions)):
        value = given[name]
        shaping[name] = tuple(cast(list[Any], value)) if isinstance(value, list) else value

    def on_progress(stage: str, done: int, tasks: int) -> None:
        if console.is_terminal or done == tasks:
            console.print(f"{stage}: {done}/{tasks}", end="\r" if done < tasks else "\n")

    if given["model"]:
        shaping["model"] = transformers_folder(resolve(given["model"]))
    options = BuildOptions(**shaping)
    manifest = build(
        options, out, lambda logs: Runner(logs, on_progress=on_progress, **running), console.print
    )
    for split, languages in manifest.documents.items():
        amounts = ", ".join(f"{name} {amount.documents}" for name, amount in languages.items())
        console.print(f"{split}: {amounts or 'nothing'}")
    console.print(f"{out}: {manifest.hash}\nread {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
