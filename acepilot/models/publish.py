"""Publish a registered model on a hub: its files, a new card, and a manifest without this machine's paths.

Only `push` uses the network. It talks to huggingface.co, or to HF_ENDPOINT, with the token of HF_TOKEN or
`hf auth login`.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from acepilot.disk import explain_full_disk
from acepilot.errors import AcepilotError, ConfigError
from acepilot.models.gate_report import GateReport, read_gate_report
from acepilot.models.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    Manifest,
    model_files,
    read_manifest,
    verified_hashes,
)
from acepilot.models.model_card import HUB_ID, model_card
from acepilot.models.promotion_history import read_history, report_path
from acepilot.models.registry import registered


class PublishFailed(AcepilotError):
    """The hub refused the model or could not be reached. The message says what to do."""

    code = "publish_failed"
    status = 502


@dataclass(frozen=True)
class Publication:
    """What `push` sends: `written`, texts made for the hub, and `files`, both by name."""

    name: str
    written: dict[str, str]
    files: dict[str, Path]


def prepare(name: str) -> Publication:
    """Collect what `push` sends. Raises ModelNotFound, and ModelBroken if files differ from the manifest."""
    folder = registered(name).path
    hashes = verified_hashes(folder)
    manifest = _for_others(read_manifest(folder))
    written = {
        CARD_FILE: model_card(manifest, _report_about(hashes)),
        MANIFEST_FILE: manifest.model_dump_json(indent=2) + "\n",
    }
    return Publication(name, written, model_files(folder))


def push(publication: Publication, hub_id: str, *, public: bool) -> str:
    """Send all files as one commit, and return its URL. Other files of the repository stay.

    Raises ConfigError before it talks to the hub, PublishFailed when the hub refuses, and NotEnoughDisk.
    """
    if not HUB_ID.fullmatch(hub_id):
        raise ConfigError(f"`{hub_id}` is not a hub id: write OWNER/NAME.")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read at the import
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
    except ImportError as error:
        raise ConfigError("Publishing needs huggingface_hub: pip install 'acepilot[server]'.") from error
    if get_token() is None:
        raise ConfigError("There is no token for the hub: set HF_TOKEN, or run `hf auth login` once.")
    api = HfApi()
    operations = [
        *(CommitOperationAdd(name, text.encode()) for name, text in publication.written.items()),
        *(CommitOperationAdd(name, path) for name, path in publication.files.items()),
    ]
    cache = Path(constants.HF_HOME)  # where the client keeps what it has sent of large files
    try:
        with explain_full_disk(cache, "nothing was published. Free some space and run this again."):
            return _send(api, publication, hub_id, operations, public=public)
    except AcepilotError:
        raise
    except Exception as error:  # errors of all the client's transports
        raise PublishFailed(
            f"{api.endpoint} did not take {hub_id}: {error}\nCheck that the token may write to this "
            "repository and that this machine reaches the hub."
        ) from error


def _send(api: Any, publication: Publication, hub_id: str, operations: list[Any], *, public: bool) -> str:
    api.create_repo(hub_id, private=not public, exist_ok=True)
    if api.repo_info(hub_id).private is public:  # the hub does not change an existing repository
        raise PublishFailed(
            f"{hub_id} already exists on the hub and is {'private' if public else 'public'}: change that "
            f"there, or publish with {'--private' if public else '--public'}. No file was sent."
        )
    message = f"{publication.name}, published with Acepilot"
    return api.create_commit(hub_id, operations, commit_message=message).commit_url


def _report_about(hashes: dict[str, str]) -> GateReport | None:
    """Return the report of the last promotion of these files."""
    for promotion in reversed(read_history().promotions):
        if promotion.report_sha256 and promotion.model.files == hashes:
            report = read_gate_report(report_path(promotion.report_sha256))
            if report.candidate.files == hashes:  # with --force, the report may be about another model
                return report
    return None


def _for_others(manifest: Manifest) -> Manifest:
    """Return the manifest without the old card's hash and without paths, which may name people."""
    files = {name: file for name, file in manifest.files.items() if name != CARD_FILE}
    tuning = manifest.tuning
    if tuning:
        config = {key: _without_path(value) for key, value in tuning.config.items()}
        tuning = tuning.model_copy(update={"config": config})
    return manifest.model_copy(
        update={"files": files, "tuning": tuning, "base": _without_path(manifest.base)}
    )


def _without_path(value: Any) -> Any:
    if isinstance(value, str) and "/" in value and not HUB_ID.fullmatch(value):
        return PurePath(value).name
    return value
