"""Print the models of the registry and the history of promotions: `python -m acepilot.models list`."""

from typing import Any

from rich.console import Console
from rich.table import Table

from acepilot.errors import ModelBroken
from acepilot.models.manifest import Manifest
from acepilot.models.promotion_history import History, read_history
from acepilot.models.registry import registered, registered_names
from acepilot.untrusted_text import escaped


def list_as_json() -> dict[str, Any]:
    """Return the document of `list --json`. A model with a damaged manifest is null."""
    history = read_history()
    return {
        "current": history.current.name if history.current else None,
        "models": {
            name: manifest.model_dump(mode="json") if manifest else None
            for name, manifest in _manifests().items()
        },
        "history": history.model_dump(mode="json")["promotions"],
    }


def print_list(console: Console) -> None:
    models, history = _manifests(), read_history()
    if not models:
        console.print("The registry is empty: `python -m acepilot.models add FOLDER` adds a model to it.")
    else:
        _print_models(models, history, console)
    if history.promotions:
        console.print(_history_table(history))


def _manifests() -> dict[str, Manifest | None]:
    """Return the registered models by name; None is a damaged manifest."""
    found: dict[str, Manifest | None] = {}
    for name in registered_names():
        try:
            found[name] = registered(name).manifest
        except ModelBroken:
            found[name] = None
    return found


def _print_models(models: dict[str, Manifest | None], history: History, console: Console) -> None:
    current = history.current.name if history.current else None
    table = Table("model", "", "format", "weights", "MB", "base")
    for name, manifest in models.items():
        mark = "current" if name == current else ""
        if manifest is None:
            table.add_row(escaped(name), mark, "its manifest is damaged")
            continue
        size_mb = sum(file.size_bytes for file in manifest.files.values()) / 1e6
        table.add_row(
            escaped(name),
            mark,
            manifest.format,
            escaped(manifest.dtype),
            f"{size_mb:.0f}",
            escaped(manifest.base),
        )
    console.print(table)
    if current is None:
        console.print("No model has been promoted yet.")
    elif current not in models:
        console.print(
            f"The current model, {escaped(current)}, is no longer in the registry: add it, or roll back."
        )


def _history_table(history: History) -> Table:
    table = Table("when", "who", "what", "from", "to", "gate", "reason")
    for entry in history.promotions:
        table.add_row(
            f"{entry.at.astimezone():%Y-%m-%d %H:%M}",
            escaped(entry.who),
            "forced" if entry.forced else entry.action,
            escaped(entry.previous.name) if entry.previous else "",
            escaped(entry.model.name),
            entry.verdict or "",
            escaped(entry.forced or ""),
        )
    return table
