"""Write a model folder atomically, with its manifest and card: the last step of exports and conversions."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from acepilot.disk import explain_full_disk
from acepilot.errors import ConfigError
from acepilot.models.manifest import CARD_FILE, MANIFEST_FILE, Manifest, StoredFile, sha256_of, write_manifest
from acepilot.models.model_card import model_card

Filled = TypeVar("Filled")


def check_target(target: Path, source: Path) -> None:
    """Raise ConfigError when writing `target` would destroy `source`, or what is not a model folder."""
    inside = target.resolve()
    if inside in (source.resolve(), *source.resolve().parents) or source.resolve() in inside.parents:
        raise ConfigError(f"{target} holds the source model itself: choose another folder.", field="out")
    check_overwrites(target)


def check_overwrites(target: Path) -> None:
    """Raise ConfigError when `target` exists and is not a model folder. A model folder may be replaced."""
    if target.is_file() or (
        target.is_dir() and any(target.iterdir()) and not (target / MANIFEST_FILE).is_file()
    ):
        raise ConfigError(f"{target} exists and is not a model folder: choose another folder.", field="out")


def write_folder(target: Path, manifest: Manifest, fill: Callable[[Path], Filled]) -> tuple[Manifest, Filled]:
    """Let `fill` write the model's files into a hidden folder, then move it to `target`.

    Return the manifest with the hashes of the files, and what `fill` returned. If `fill` raises an error, an
    existing `target` stays as it was.
    """
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with explain_full_disk(
            staging.parent, f"{target.name} was not written. Free some space and run this again."
        ):
            staging.mkdir(parents=True)
            filled = fill(staging)
            (staging / CARD_FILE).write_text(model_card(manifest), encoding="utf-8")
            for path in staging.iterdir():
                path.chmod(
                    0o644
                )  # the server may run as another user, and safetensors lets only the owner read
            files = {
                path.name: StoredFile(sha256=sha256_of(path), size_bytes=path.stat().st_size)
                for path in sorted(staging.iterdir())
            }
            complete = manifest.model_copy(update={"files": files})
            write_manifest(complete, staging)
            shutil.rmtree(target, ignore_errors=True)
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return complete, filled
