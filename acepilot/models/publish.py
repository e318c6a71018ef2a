"""A registered model on a hub: its files, a card made anew, and a manifest without this machine's paths.

Nothing but `push` touches the network, and it talks to the hub alone: the one of huggingface_hub, or what
HF_ENDPOINT says, with the token that `hf auth login` or HF_TOKEN left.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

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
    """The hub refused, or could not be reached; the message says what to do."""

    code = "publish_failed"
    status = 502


@dataclass(frozen=True)
class Publication:
    """What would be sent. `written` are made for the hub: their text by name."""

    name: str
    written: dict[str, str]
    files: dict[str, Path]


def prepare(name: str) -> Publication:
    """Raises ModelNotFound, or ModelBroken when the files are not those of the manifest."""
    folder = registered(name).path
    hashes = verified_hashes(folder)
    manifest = _for_others(read_manifest(folder))
    written = {
        CARD_FILE: model_card(manifest, _report_about(hashes)),
        MANIFEST_FILE: manifest.model_dump_json(indent=2) + "\n",
    }
    return Publication(name, written, model_files(folder))


def push(publication: Publication, hub_id: str, *, public: bool) -> str:
    """Sends all files as one commit, and returns its address. Other files of that repository stay.

    Raises ConfigError before anything is sent, PublishFailed after.
    """
    if not HUB_ID.fullmatch(hub_id):
        raise ConfigError(f"`{hub_id}` is no hub id: write OWNER/NAME.")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read at the import
    try:
        from huggingface_hub import CommitOperationAdd, HfApi, get_token
    except ImportError as error:
        raise ConfigError(
            "Publishing needs huggingface_hub: pip install -e '.[server]' in Acepilot's folder."
        ) from error
    if get_token() is None:
        raise ConfigError("There is no token for the hub: set HF_TOKEN, or `hf auth login` once.")
    api = HfApi()
    operations = [
        *(CommitOperationAdd(name, text.encode()) for name, text in publication.written.items()),
        *(CommitOperationAdd(name, path) for name, path in publication.files.items()),
    ]
    try:
        api.create_repo(hub_id, private=not public, exist_ok=True)
        if api.repo_info(hub_id).private is public:  # an existing repository stays as it is
            raise PublishFailed(
                f"{hub_id} is {'private' if public else 'public'} on the hub already: change that there, or "
                f"publish with {'--private' if public else '--public'}. No file was sent."
            )
        message = f"{publication.name}, published with Acepilot"
        return api.create_commit(hub_id, operations, commit_message=message).commit_url
    except AcepilotError:
        raise
    except Exception as error:  # the client lets through what its three ways of transport raise
        raise PublishFailed(
            f"{api.endpoint} did not take {hub_id}: {error}\nMay the token write there, and can the hub be "
            "reached from here?"
        ) from error


def _report_about(hashes: dict[str, str]) -> GateReport | None:
    """The report with which these very files were promoted last."""
    for promotion in reversed(read_history().promotions):
        if promotion.report_sha256 and promotion.model.files == hashes:
            report = read_gate_report(report_path(promotion.report_sha256))
            if report.candidate.files == hashes:  # --force may have taken a report about another model
                return report
    return None


def _for_others(manifest: Manifest) -> Manifest:
    """Without the hash of the card, which is made anew, and without paths: they name projects and people."""
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
