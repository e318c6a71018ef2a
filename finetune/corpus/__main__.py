"""Build a corpus from scraped folders: clean, deduplicate, split and pack, with a manifest and a report.

python -m finetune.corpus data/vue --out corpora/vue --model starter --problems problems.jsonl
python -m finetune.corpus data/vue --out corpora/vue --model Salesforce/codegen-2B-multi
python -m finetune.corpus data/vue --out corpora/mixed --replay corpora/python --replay-share 0.3
python -m finetune.corpus data/vue --out corpora/vue --executor slurm --partition cpu

`python -m eval_humaneval problems --out problems.jsonl` writes the problems to keep out of the corpus.
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
    add("scraped", nargs="+", type=Path, help="folders that `python -m finetune.scrape` filled")
    add("--out", type=Path, required=True, help="folder of the corpus; it must not exist")
    add(
        "--allow",
        dest="allowed",
        action="append",
        default=[*ALLOWED],
        metavar="SPDX",
        help="also keep code under this licence; may be repeated",
    )
    add(
        "--language",
        dest="languages",
        action="append",
        default=[],
        choices=sorted(LANGUAGES),
        metavar="ID",
        help="keep only scraped code in this language; may be repeated (default: all languages)",
    )
    add(
        "--heldout-share",
        type=float,
        default=default.heldout_share,
        help="share of the repositories to hold out (default: 0.1)",
    )
    add(
        "--max-file-bytes",
        type=int,
        default=default.max_file_bytes,
        help="skip larger files (default: 1000000)",
    )
    add(
        "--problems",
        action="append",
        default=[],
        type=Path,
        help="JSONL of evaluation problems: drop documents that overlap one",
    )
    add(
        "--replay",
        action="append",
        default=[],
        type=Path,
        help="documents to mix in: a corpus, or JSONL of {text, language}",
    )
    add(
        "--replay-share",
        type=float,
        default=default.replay_share,
        help="share of replay in all characters (default: 0.2)",
    )
    add(
        "--instructions",
        action="append",
        default=[],
        type=Path,
        help="instructions to mix in: JSONL of {prompt, completion}",
    )
    add(
        "--model",
        help="pack sequences for this model: a registered name, current, a folder, a .gguf file or a hub id",
    )
    add(
        "--sequence-tokens",
        type=int,
        default=default.sequence_tokens,
        help="length of a sequence (default: 2048)",
    )
    add(
        "--fim-rate",
        type=float,
        default=default.fim_rate,
        help="share of pieces for fill-in-the-middle (default: 0.5)",
    )
    add("--seed", type=int, default=default.seed, help="of the split and of fill-in-the-middle (default: 0)")
    add("--workers", type=int, default=-1, help="tasks at a time (default: one for each core)")
    add("--executor", choices=["local", "slurm", "ray"], default="local", help="default: local")
    add("--partition", help="slurm: the partition to run in")
    add("--time-limit", default="4:00:00", help="slurm: time limit of each stage (default: 4:00:00)")
    return parser.parse_args()


@program()
def main() -> int:
    given = vars(arguments())
    console = text_console(stderr=True)
    out: Path = given["out"]
    runner_options = {name: given[name] for name in ("executor", "workers", "partition", "time_limit")}
    build_options: dict[str, Any] = {}
    for name in (field.name for field in fields(BuildOptions)):
        value = given[name]
        build_options[name] = tuple(cast(list[Any], value)) if isinstance(value, list) else value

    def on_progress(stage: str, done: int, tasks: int) -> None:
        if console.is_terminal or done == tasks:
            console.print(f"{stage}: {done}/{tasks}", end="\r" if done < tasks else "\n")

    if given["model"]:
        build_options["model"] = transformers_folder(resolve(given["model"]))
    options = BuildOptions(**build_options)
    manifest = build(
        options, out, lambda logs: Runner(logs, on_progress=on_progress, **runner_options), console.print
    )
    for split, languages in manifest.documents.items():
        amounts = ", ".join(f"{name} {amount.documents}" for name, amount in languages.items())
        console.print(f"{split}: {amounts or 'nothing'}")
    console.print(f"{out}: {manifest.hash}\nThe report is {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
