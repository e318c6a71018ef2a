"""The last step of every export: a model's folder that appears whole, with its manifest and its card."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from acepilot.disk import explain_full_disk
from acepilot.errors import ConfigError
from acepilot.models.manifest import CARD_FILE, MANIFEST_FILE, Manifest, ModelFile, sha256_of, write_manifest
from acepilot.models.model_card import model_card

Filled = TypeVar("Filled")


def check_target(target: Path, source: Path) -> None:
    """Raises ConfigError when writing a folder at `target` would destroy what is no export."""
    inside = target.resolve()
    if inside in (source.resolve(), *source.resolve().parents) or source.resolve() in inside.parents:
        raise ConfigError(f"{target} is where the model itself is: choose another folder.", field="out")
    check_overwrites(target)


def check_overwrites(target: Path) -> None:
    """Raises ConfigError when at `target` is something else than a model's folder, which may be replaced."""
    if target.is_file() or (
        target.is_dir() and any(target.iterdir()) and not (target / MANIFEST_FILE).is_file()
    ):
        raise ConfigError(
            f"{target} is there already, and is no model's folder: choose another.", field="out"
        )


def write_folder(target: Path, manifest: Manifest, fill: Callable[[Path], Filled]) -> tuple[Manifest, Filled]:
    """`fill(folder)` writes the model's files; they appear under `target` together, or not at all.

    Whatever `fill` raises leaves nothing behind, and what was at `target` before stays then. Gives the
    manifest with the files in it, and what `fill` gave.
    """
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with explain_full_disk(
            staging.parent, f"{target.name} was not written. Free some space and export again."
        ):
            filled = fill(staging)
            (staging / CARD_FILE).write_text(model_card(manifest), encoding="utf-8")
            for path in staging.iterdir():
                path.chmod(0o644)  # safetensors writes for its owner alone, and a server may be another user
            files = {
                path.name: ModelFile(sha256=sha256_of(path), size_bytes=path.stat().st_size)
                for path in sorted(staging.iterdir())
            }
            whole = manifest.model_copy(update={"files": files})
            write_manifest(whole, staging)
            shutil.rmtree(target, ignore_errors=True)
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return whole, filled
