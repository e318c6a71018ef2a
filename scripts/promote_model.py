"""Puts tuned models into the registry and decides which one is served: docs/promotion.md.

python scripts/promote_model.py add runs/ours/model-gguf --name ours-1      a candidate, checked and copied
python scripts/promote_model.py promote ours-1 --report results/gate.json   `current`, if the gate says PASS
python scripts/promote_model.py rollback                                    the one before is current again
python scripts/promote_model.py list                                        what there is, and what happened
python scripts/promote_model.py publish ours-1 --to OWNER/NAME --dry-run    what a hub would get; private

A server that runs `--model current` keeps its model until it is started again.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from acepilot.cli import program, text_console
from acepilot.errors import ConfigError, ModelBroken
from acepilot.gate_report import read_gate_report
from acepilot.manifest import Manifest, model_files, read_manifest
from acepilot.progress import byte_progress
from acepilot.promotion import promote, rollback
from acepilot.promotion_history import History, Promotion, read_history
from acepilot.publish import prepare, push
from acepilot.registry import register, registered, registered_names

out = text_console()
notes = text_console(stderr=True)


def add(given: argparse.Namespace) -> None:
    read_manifest(given.folder)  # what is no model is told before a bar begins
    size_bytes = sum(path.stat().st_size for path in model_files(given.folder).values())
    with byte_progress(f"checking {given.folder}", size_bytes, notes) as told:
        model = register(given.folder, given.name, told)
    out.print(f"{model.name} is in the registry: {model.path}")


def promote_one(given: argparse.Namespace) -> None:
    if given.force != (given.reason is not None):
        raise ConfigError("--force and --reason go together: the history keeps why the gate was overruled.")
    notes.print("Hashing the files of both models takes a second for each gigabyte or so.")
    promotion = promote(given.name, given.report, force_reason=given.reason)
    for objection in promotion.overruled:
        notes.print(f"overruled: {objection}", style="yellow")
    if given.report and not promotion.overruled:
        for reason in read_gate_report(given.report).reasons:
            notes.print(f"the gate: {reason}")
    _tell(promotion)


def roll_back(_: argparse.Namespace) -> None:
    _tell(rollback())


def list_all(given: argparse.Namespace) -> None:
    history = read_history()
    models = {name: _manifest(name) for name in registered_names()}
    if given.json:
        document = {
            "current": history.current.name if history.current else None,
            "models": {
                name: manifest.model_dump(mode="json") if manifest else None
                for name, manifest in models.items()
            },
            "history": history.model_dump(mode="json")["promotions"],
        }
        print(json.dumps(document, indent=2))
        return
    _print_models(models, history)
    _print_history(history)


def publish(given: argparse.Namespace) -> None:
    publication = prepare(given.name)
    if not given.dry_run:
        out.print(f"Published: {push(publication, given.to, public=given.public)}")
        return
    out.print(publication.written["README.md"])
    for name, text in publication.written.items():
        out.print(f"{len(text.encode()):>15,}  {name}")
    for name, path in publication.files.items():
        out.print(f"{path.stat().st_size:>15,}  {name}")
    visible = "public" if given.public else "private"
    out.print(f"Nothing was sent. Without --dry-run this goes to {given.to}, {visible}.")


def _tell(promotion: Promotion) -> None:
    before = f", before it {promotion.previous.name}" if promotion.previous else ""
    out.print(f"{promotion.model.name} is current now{before}. Start the server again to serve it.")


def _manifest(name: str) -> Manifest | None:
    try:
        return registered(name).manifest
    except ModelBroken:
        return None


def _print_models(models: dict[str, Manifest | None], history: History) -> None:
    if not models:
        out.print("The registry is empty: `python scripts/promote_model.py add FOLDER` puts a model there.")
        return
    current = history.current.name if history.current else None
    table = Table("model", "", "format", "weights", "MB", "base")
    for name, found in models.items():
        mark = "current" if name == current else ""
        if found is None:
            table.add_row(name, mark, "its manifest is damaged")
            continue
        size_mb = sum(file.size_bytes for file in found.files.values()) / 1e6
        table.add_row(name, mark, found.format, found.dtype, f"{size_mb:.0f}", found.base)
    out.print(table)
    if current is None:
        out.print("Nothing was promoted yet.")
    elif current not in models:
        out.print(f"{current}, which is current, is no longer here: add it again, or roll back.")


def _print_history(history: History) -> None:
    if not history.promotions:
        return
    table = Table("when", "who", "what", "from", "to", "gate", "reason")
    for entry in history.promotions:
        before = entry.previous.name if entry.previous else ""
        when = f"{entry.at.astimezone():%Y-%m-%d %H:%M}"
        what = "forced" if entry.forced else entry.action
        table.add_row(
            when, entry.who, what, before, entry.model.name, entry.verdict or "", entry.forced or ""
        )
    out.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands: Any = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("add", help="copy a model's folder into the registry")
    command.add_argument("folder", type=Path, help="with manifest.json, as finetune.export writes it")
    command.add_argument("--name", help="left out: the manifest's id")
    command.set_defaults(run=add)
    command = commands.add_parser("promote", help="make a registered model the current one")
    command.add_argument("name")
    command.add_argument("--report", type=Path, help="gate.json of `eval_humaneval compare`, or its folder")
    command.add_argument("--force", action="store_true", help="overrule the gate; recorded")
    command.add_argument("--reason", help="why, with --force")
    command.set_defaults(run=promote_one)
    command = commands.add_parser("rollback", help="make the model before it the current one")
    command.set_defaults(run=roll_back)
    command = commands.add_parser("list", help="models, which is current, and the history")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=list_all)
    command = commands.add_parser("publish", help="push a registered model to a hub")
    command.add_argument("name")
    command.add_argument("--to", required=True, metavar="OWNER/NAME")
    visibility = command.add_mutually_exclusive_group()
    visibility.add_argument("--public", action="store_true", help="for everybody to see")
    visibility.add_argument("--private", action="store_true", help="the default")
    command.add_argument("--dry-run", action="store_true", help="print card and files; send nothing")
    command.set_defaults(run=publish)
    return parser


@program()
def main() -> int:
    """Exit code 1 when it was refused, 2 when the command line is wrong."""
    given = _parser().parse_args()
    given.run(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
