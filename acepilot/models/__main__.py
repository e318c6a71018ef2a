"""Manage the models on this disk: fetch, register, promote, publish, export and convert them.

    python -m acepilot.models fetch starter                           fetch a published model, check its hash
    python -m acepilot.models add runs/ours/model-gguf --name ours-1  check a model, copy it to the registry
    python -m acepilot.models promote ours-1 --report gate.json       make it `current`, if the gate passed it
    python -m acepilot.models rollback                                make the model before it current again
    python -m acepilot.models list                                    show the models and the promotions
    python -m acepilot.models publish ours-1 --to OWNER/NAME          upload a model to a hub
    python -m acepilot.models export runs/ours --alpha 0.5            training run -> folder of a model
    python -m acepilot.models convert MODEL --to gptj --out FOLDER    model -> the same model in another form

The registry is ACEPILOT_HOME/models. Any program that takes a model takes a name in the registry, `current`,
a folder, a .gguf file or a hub id (OWNER/NAME). A server that runs `--model current` keeps its model until
you restart it. docs/promotion.md explains the commands.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from acepilot.cli import program, text_console
from acepilot.errors import ConfigError
from acepilot.models.gate_report import read_gate_report
from acepilot.models.listing import list_as_json, print_list
from acepilot.models.manifest import model_files, read_manifest
from acepilot.models.promotion import promote, rollback
from acepilot.models.promotion_history import Promotion
from acepilot.models.promotion_policy import PromotionPolicy
from acepilot.models.publish import prepare, push
from acepilot.models.registry import models_dir, register
from acepilot.models.starter import STARTERS
from acepilot.models.starter_download import fetch_starter
from acepilot.progress import byte_progress
from acepilot.untrusted_text import escaped

CHILD_PROGRAMS = {
    "export": ("finetune.export", "write the model of a training run to a folder"),
    "convert": ("finetune.convert", "write a model in another form: gptj, gguf or openvino"),
}
"""Commands that need torch. They run as child processes, because this program never imports torch."""

out = text_console()
notes = text_console(stderr=True)


def fetch_command(given: argparse.Namespace) -> None:
    fetched = fetch_starter(STARTERS[given.model], notes)
    notes.print(f"{given.model} is {'ready' if fetched else 'here already'}: {models_dir() / given.model}")


def add_command(given: argparse.Namespace) -> None:
    read_manifest(given.folder)  # raises before the progress bar appears
    size_bytes = sum(path.stat().st_size for path in model_files(given.folder).values())
    with byte_progress(f"checking {given.folder}", size_bytes, notes) as on_progress:
        model = register(given.folder, given.name, on_progress)
    out.print(f"{model.name} is in the registry: {model.path}")


def promote_command(given: argparse.Namespace) -> None:
    if given.force != (given.reason is not None):
        raise ConfigError("Give --force and --reason together: the history keeps why the gate was overruled.")
    if given.report:
        notes.print(PromotionPolicy.load().summary())
    notes.print("Hashing the files of both models, about one second per gigabyte.")
    promotion = promote(given.name, given.report, force_reason=given.reason)
    for objection in promotion.overruled:
        notes.print(escaped(f"overruled: {objection}"), style="yellow")
    if given.report and not promotion.overruled:
        report = read_gate_report(given.report)
        for reason in report.reasons:
            notes.print(escaped(f"the gate: {reason}"))
        _print_languages(list(report.languages))
    _print_promotion(promotion)


def rollback_command(_: argparse.Namespace) -> None:
    _print_promotion(rollback())


def list_command(given: argparse.Namespace) -> None:
    if given.json:
        print(json.dumps(list_as_json(), indent=2))
    else:
        print_list(out)


def publish_command(given: argparse.Namespace) -> None:
    publication = prepare(given.name)
    if not given.dry_run:
        out.print(f"Published: {push(publication, given.to, public=given.public)}")
        return
    out.print(escaped(publication.written["README.md"]))
    sizes = {name: len(text.encode()) for name, text in publication.written.items()}
    sizes |= {name: path.stat().st_size for name, path in publication.files.items()}
    for name, size_bytes in sizes.items():
        out.print(escaped(f"{size_bytes:>15,}  {name}"))
    visibility = "public" if given.public else "private"
    out.print(f"Nothing was sent. Without --dry-run this goes to {given.to}, {visibility}.")


def _print_languages(languages: list[str]) -> None:
    """Name the languages that a promotion rests on: a single one may hide a loss in all others."""
    if len(languages) > 1:
        notes.print(f"Judged in {len(languages)} languages: {', '.join(languages)}.")
        return
    notes.print(
        f"Warning: judged in {languages[0]} only. Other languages may have become worse: compare in all of "
        "them, or demand them with `languages` in [promotion].",
        style="bold yellow",
    )


def _print_promotion(promotion: Promotion) -> None:
    replaced = f"; before, it was {promotion.previous.name}" if promotion.previous else ""
    out.print(
        escaped(f"The current model is {promotion.model.name}{replaced}. Restart the server to serve it.")
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m acepilot.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands: Any = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("fetch", help="fetch a published model into the registry")
    command.add_argument("model", choices=sorted(STARTERS), nargs="?", default="starter")
    command.set_defaults(run=fetch_command)
    command = commands.add_parser("add", help="copy a model's folder into the registry")
    command.add_argument("folder", type=Path, help="a folder with manifest.json, as `export` writes it")
    command.add_argument("--name", help="the model's name in the registry (default: the manifest's id)")
    command.set_defaults(run=add_command)
    command = commands.add_parser("promote", help="make a registered model the current one")
    command.add_argument("name")
    command.add_argument("--report", type=Path, help="gate.json of `eval_humaneval compare`, or its folder")
    command.add_argument("--force", action="store_true", help="overrule the gate; the history records it")
    command.add_argument("--reason", help="why you overrule the gate; needed with --force")
    command.set_defaults(run=promote_command)
    command = commands.add_parser("rollback", help="make the model before the current one current again")
    command.set_defaults(run=rollback_command)
    command = commands.add_parser("list", help="show the models, which one is current, and the promotions")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=list_command)
    command = commands.add_parser("publish", help="upload a registered model to a hub")
    command.add_argument("name")
    command.add_argument("--to", required=True, metavar="OWNER/NAME")
    visibility = command.add_mutually_exclusive_group()
    visibility.add_argument("--public", action="store_true", help="everybody can see the model")
    visibility.add_argument(
        "--private", action="store_true", help="only you, or your organization, can see it (default)"
    )
    command.add_argument("--dry-run", action="store_true", help="print the card and the files; send nothing")
    command.set_defaults(run=publish_command)
    for name, (module, purpose) in CHILD_PROGRAMS.items():
        commands.add_parser(name, help=f"{purpose} (python -m {module})", add_help=False)
    return parser


@program(resumes=True)
def main(words: Sequence[str] | None = None) -> int:
    """Run the command in `words` (default: the program's arguments).

    Return 1 when the command fails or is refused, and 2 when the command line is wrong.
    """
    words = sys.argv[1:] if words is None else words
    if words and words[0] in CHILD_PROGRAMS:
        return _run_child(CHILD_PROGRAMS[words[0]][0], words[1:])
    given = _parser().parse_args(words)
    given.run(given)
    return 0


def _run_child(module: str, words: Sequence[str]) -> int:
    if find_spec("peft") is None:
        raise ConfigError("Exporting and converting need more packages: pip install 'acepilot[train]'.")
    return subprocess.run([sys.executable, "-m", module, *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
