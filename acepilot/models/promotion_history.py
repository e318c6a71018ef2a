"""Which model is `current`, and how it came to be: one file, `ACEPILOT_HOME/promotions/history.json`.

The pointer is the last entry of the history, so moving the one and writing the other is one step: a crash
leaves both as they were or both as they are to be. Entries are only ever added.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acepilot.errors import ModelBroken
from acepilot.models.gate_report import Verdict
from acepilot.models.manifest import write_atomically
from acepilot.settings import home


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServedModel(_Part):
    name: str
    files: dict[str, str] = Field(description="sha256 by name inside the folder, as they were at that time.")


class Promotion(_Part):
    """One move of `current`."""

    at: datetime
    who: str
    action: Literal["promote", "rollback"]
    previous: ServedModel | None = Field(
        description="At the first promotion the base of its report; null when there was none."
    )
    model: ServedModel
    report_sha256: str | None = Field(default=None, description="Of the gate report, kept under reports/.")
    verdict: Verdict | None = None
    forced: str | None = Field(default=None, description="The reason that was given with --force.")
    overruled: list[str] = Field(default=[], description="What would have stopped it without --force.")


class History(_Part):
    promotions: list[Promotion] = []

    @property
    def current(self) -> ServedModel | None:
        return self.promotions[-1].model if self.promotions else None

    @property
    def before_current(self) -> ServedModel | None:
        """Where a rollback goes: rolled back twice, it is the one before the one before."""
        served: list[ServedModel] = []
        for promotion in self.promotions:
            if promotion.action == "rollback":
                served.pop()
                continue
            if not served and promotion.previous:
                served.append(promotion.previous)
            served.append(promotion.model)
        return served[-2] if len(served) > 1 else None


def read_history() -> History:
    """Empty when nothing was promoted yet. Raises ModelBroken when the file is damaged."""
    path = _folder() / "history.json"
    try:
        return History.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return History()
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelBroken(
            f"{path} is damaged, so nobody knows which model is current: restore it from a backup, or move "
            f"it away and promote anew.\n{error}"
        ) from error


def append(promotion: Promotion) -> None:
    """Moves `current`. To be called by one process at a time: see `exclusive` in registry.py."""
    history = History(promotions=[*read_history().promotions, promotion])
    _folder().mkdir(parents=True, exist_ok=True)
    write_atomically(_folder() / "history.json", history.model_dump_json(indent=2) + "\n")


def report_path(sha256: str) -> Path:
    """Where the gate report with that hash is kept: a model's card quotes it."""
    return _folder() / "reports" / f"{sha256}.json"


def _folder() -> Path:
    return home() / "promotions"
