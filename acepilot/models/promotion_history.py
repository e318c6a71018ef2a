"""The history of promotions, `ACEPILOT_HOME/promotions/history.json`; its last entry says what is `current`.

Pointer and history are one file, so a crash cannot change one without the other. Entries are only added.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from acepilot.errors import ModelBroken
from acepilot.models.gate_report import Verdict
from acepilot.models.manifest import FilePart, write_atomically
from acepilot.settings import home


class ServedModel(FilePart):
    """A model as it was when it became `current`."""

    name: str
    files: dict[str, str] = Field(description="sha256 by name inside the folder.")
    manifest_sha256: str | None = Field(
        default=None, description="Hash of manifest.json; null in older entries, which did not record it."
    )

    def is_same(self, other: "ServedModel") -> bool:
        """Return whether both are the same model, as far as both entries know."""
        manifests = {self.manifest_sha256, other.manifest_sha256} - {None}
        return (self.name, self.files) == (other.name, other.files) and len(manifests) < 2


class Promotion(FilePart):
    """One change of `current`."""

    at: datetime
    who: str
    action: Literal["promote", "rollback"]
    previous: ServedModel | None = Field(description="The model before; at first the report's base, or null.")
    model: ServedModel
    report_sha256: str | None = Field(default=None, description="Hash of the gate report, kept in reports/.")
    verdict: Verdict | None = None
    forced: str | None = Field(default=None, description="The reason given with --force.")
    overruled: list[str] = Field(default=[], description="The objections that --force overruled.")


class History(FilePart):
    promotions: list[Promotion] = Field(default=[])

    @model_validator(mode="after")
    def _rolls_back_only_what_was_promoted(self) -> Self:
        served = 0
        for number, promotion in enumerate(self.promotions, start=1):
            if promotion.action == "promote":
                served += 2 if served == 0 and promotion.previous else 1
            elif (served := served - 1) < 1:
                raise ValueError(f"entry {number} rolls back, and there is no model before it")
        return self

    @property
    def current(self) -> ServedModel | None:
        return self.promotions[-1].model if self.promotions else None

    @property
    def before_current(self) -> ServedModel | None:
        """The model that a rollback returns to. Each further rollback goes one model further back."""
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
    """Read the history, which is empty before the first promotion. Raises ModelBroken when it is damaged."""
    path = _folder() / "history.json"
    try:
        return History.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return History()
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelBroken(
            f"{path} is damaged, so the current model is unknown: restore the file from a backup, or move it "
            f"away and promote a model again.\n{error}"
        ) from error


def append(promotion: Promotion) -> None:
    """Add an entry, which changes `current`. The caller holds a lock: see `exclusive` in registry.py."""
    history = History(promotions=[*read_history().promotions, promotion])
    _folder().mkdir(parents=True, exist_ok=True)
    write_atomically(_folder() / "history.json", history.model_dump_json(indent=2) + "\n")


def report_path(sha256: str) -> Path:
    """Return the path of the gate report with this hash, which a model's card quotes."""
    return _folder() / "reports" / f"{sha256}.json"


def _folder() -> Path:
    return home() / "promotions"
