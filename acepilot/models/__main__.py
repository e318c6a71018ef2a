"""Models on this disk: fetch, register, promote, publish and convert them. See docs/promotion.md.

    python -m acepilot.models fetch starter                            a published model, checked by its hash
    python -m acepilot.models add runs/ours/model-gguf --name ours-1   a candidate, checked and copied
    python -m acepilot.models promote ours-1 --report results/gate.json `current`, if the gate says PASS
    python -m acepilot.models rollback                                 the model before it is current again
    python -m acepilot.models list                                     the models, and the history
    python -m acepilot.models publish ours-1 --to OWNER/NAME --dry-run what a hub would get
    python -m acepilot.models export runs/ours --alpha 0.5             a training run -> a model's folder
    python -m acepilot.models convert MODEL --to gptj --out FOLDER     a model -> the same in another form

A server that runs `--model current` keeps its model until it is started again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.table import Table

from acepilot.cli import program, text_console
from acepilot.errors import ConfigError, ModelBroken
from acepilot.models.gate_report import read_gate_report
from acepilot.models.manifest import Manifest, model_files, read_manifest
from acepilot.models.promotion import promote, rollback
from acepilot.models.promotion_history import History, Promotion, read_history
from acepilot.models.publish import prepare, push
from acepilot.models.registry import models_dir, register, registered, registered_names
from acepilot.models.starter import STARTERS
from acepilot.models.starter_download import fetch_starter
from acepilot.progress import byte_progress

OTHER_PROGRAMS = {"export": "finetune.export", "convert": "finetune.convert"}
"""Commands that need the extra `train`. They run as programs of their own: this one never imports torch."""

out = text_console()
notes = text_console(stderr=True)


def add(given: argparse.Namespace) -> None:
    read_manifest(given.folder)  # what is no model is told before a bar begins
    size_bytes = sum(path.stat().st_size for path in model_files(given.folder).values())
    with byte_progress(f"checking {given.folder}", size_bytes, notes) as on_progress:
        model = register(given.folder, given.name, on_progress)
    out.print(f"{model.name} is in the registry: {model.path}")


def fetch(given: argparse.Namespace) -> None:
    fetched = fetch_starter(STARTERS[given.model], notes)
    notes.print(f"{given.model} is {'ready' if fetched else 'here already'}: {models_dir() / given.model}")


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
        out.print("The registry is empty: `python -m acepilot.models add FOLDER` puts a model there.")
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
        prog="python -m acepilot.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands: Any = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("fetch", help="fetch a published model into the registry")
    command.add_argument("model", choices=sorted(STARTERS), nargs="?", default="starter")
    command.set_defaults(run=fetch)
    command = commands.add_parser("add", help="copy a model's folder into the registry")
    command.add_argument("folder", type=Path, help="with manifest.json, as `export` writes it")
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
    for name, module in OTHER_PROGRAMS.items():
        commands.add_parser(name, help=f"python -m {module}", add_help=False)
    return parser


@program(resumes=True)
def main(words: Sequence[str] | None = None) -> int:
    """Run the command in `words`, or in the program's arguments.

    Exit code 1 when it was refused, 2 when the command line is wrong.
    """
    words = sys.argv[1:] if words is None else words
    if words and words[0] in OTHER_PROGRAMS:
        return _run_program(OTHER_PROGRAMS[words[0]], words[1:])
    given = _parser().parse_args(words)
    given.run(given)
    return 0


def _run_program(module: str, words: Sequence[str]) -> int:
    if find_spec("peft") is None:
        raise ConfigError("Exporting and converting need more packages: pip install 'acepilot[train]'.")
    return subprocess.run([sys.executable, "-m", module, *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
