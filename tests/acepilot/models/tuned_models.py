"""Models of a few bytes with correct manifests, and gate reports about them."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acepilot.models.gate_report import GATE_FILE, Comparison, GateReport, JudgedModel
from acepilot.models.manifest import CARD_FILE, Manifest, StoredFile, Tuning, file_hashes, write_manifest


def write_model(folder: Path, weights: str, **changes: Any) -> Path:
    """Write a folder as finetune.export does. Models differ by `weights`."""
    folder.mkdir(parents=True)
    contents = {"model.gguf": weights.encode(), "tokenizer/vocab.txt": b"a b c", CARD_FILE: b"# a card"}
    files: dict[str, StoredFile] = {}
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        files[name] = StoredFile(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    fields: dict[str, Any] = {
        "id": folder.name,
        "format": "gguf",
        "files": files,
        "base": "Org/Base-1B",
        "licence": "Apache-2.0",
        "dtype": "F16",
        "context_tokens": 2048,
        "data_hash": "d" * 64,
    }
    write_manifest(Manifest(**(fields | changes)), folder)
    return folder


def tuning() -> Tuning:
    return Tuning(
        method="lora",
        base_revision=None,
        alpha=1.0,
        weights="best",
        step=20,
        tokens=12345,
        heldout_loss_before={"vue": 2.5},
        heldout_loss_after={"vue": 1.5},
        config={"model": "Org/Base-1B", "corpus": "/home/alice/secret-project/corpus", "steps": 20},
        git_commit=None,
    )


def comparison(difference: float, problems: int = 40, p_adjusted: float = 1.0) -> Comparison:
    return Comparison(
        problems=problems,
        samples=20,
        base=30.0,
        candidate=30.0 + difference,
        difference=difference,
        lower=difference - 1.5,
        upper=difference + 1.5,
        p_value=0.5,
        p_adjusted=p_adjusted,
        margin=4.0,
        smallest_visible_drop=3.5,
        smallest_failed_drop=4.5,
        verdict="PASS",
    )


def report(base: Path, candidate: Path, /, **changes: Any) -> GateReport:
    """Return a report in which `candidate` passes against `base`, both judged from their folders."""
    fields: dict[str, Any] = {
        "verdict": "PASS",
        "reasons": ["No language lost more than its margin."],
        "base": JudgedModel(name=base.name, files=file_hashes(base), run="runs/base"),
        "candidate": JudgedModel(name=candidate.name, files=file_hashes(candidate), run="runs/candidate"),
        "config_hash": "c" * 64,
        "sandbox": "bubblewrap+seccomp",
        "alpha": 0.05,
        "drop_points": 1.0,
        "enlarged": False,
        "samples_to_decide": None,
        "seed": 1,
        "created": datetime.now(UTC),
        "git_commit": None,
        "pool": comparison(4.375, problems=80, p_adjusted=0.5),
        "languages": {"python": comparison(-0.5), "vue": comparison(9.25)},
    }
    return GateReport(**(fields | changes))


def write_report(folder: Path, content: GateReport) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / GATE_FILE
    file.write_text(content.model_dump_json(), encoding="utf-8")
    return file
