"""Build a corpus from scraped folders: clean, deduplicate, split and pack, with a manifest and a report.

python -m finetune.corpus data/vue --out corpora/vue --model starter --problems problems.jsonl
python -m finetune.corpus data/vue --out corpora/vue --model Salesforce/codegen-2B-multi
python -m finetune.corpus data/vue --out corpora/mixed --replay corpora/python --replay-share 0.3
python -m finetune.corpus data/vue --out corpora/vue --executor slurm --partition cpu

`python -m eval_humaneval problems --out problems.jsonl` writes the problems to keep out of the corpus.
"""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
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


def arguments() -> Namespace:
    parser = ArgumentParser(
        prog="python -m finetune.corpus", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    default = BuildOptions(scraped=())

    def add_number(name: str, default: float, text: str) -> None:
        add(name, type=type(default), default=default, help=f"{text} (default: {default})")

    def add_files(name: str, text: str) -> None:
        add(name, action="append", default=[], type=Path, metavar="PATH", help=f"{text}; may be repeated")

    def add_names(name: str, dest: str, start: list[str], text: str, **more: Any) -> None:
        add(name, dest=dest, action="append", default=start, help=f"{text}; may be repeated", **more)

    add("scraped", nargs="+", type=Path, help="folders that `python -m finetune.scrape` filled")
    add("--out", type=Path, required=True, help="folder of the corpus; it must not exist")
    add_names("--allow", "allowed", [*ALLOWED], "also keep code under this licence", metavar="SPDX")
    known = sorted(LANGUAGES)
    add_names("--language", "languages", [], "keep only code in this language", choices=known, metavar="ID")
    add_number("--heldout-share", default.heldout_share, "share of the repositories to hold out")
    add_number("--max-file-bytes", default.max_file_bytes, "skip larger files")
    add_files("--problems", "JSONL of evaluation problems: drop documents that overlap one")
    add_files("--replay", "documents to mix in: a corpus, or JSONL of {text, language}")
    add_number("--replay-share", default.replay_share, "share of replay in all characters")
    add_files("--instructions", "instructions to mix in: JSONL of {prompt, completion}")
    add("--model", help="pack for this model: a registered name, current, a folder, a .gguf file or a hub id")
    add_number("--sequence-tokens", default.sequence_tokens, "length of a sequence")
    add_number("--fim-rate", default.fim_rate, "share of pieces for fill-in-the-middle")
    add_number("--seed", default.seed, "seed of the split and of fill-in-the-middle")
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
