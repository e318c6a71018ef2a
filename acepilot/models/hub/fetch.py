"""Fetch a model by its hub id, OWNER/NAME, into the registry; from then on it is read from there.

Only the files that a model needs are fetched: safetensors, configuration, tokenizer, card and licence, but no
programs. If the weights are published as pickles (`pytorch_model.bin`) only, they are rewritten as
safetensors. An interrupted fetch resumes within a file; huggingface_hub 2.4 would begin the file again.
"""

import json
import re
import shutil
import struct
from collections import Counter
from pathlib import Path
from typing import Any

from acepilot.disk import HOME_ADVICE, check_room
from acepilot.errors import ConfigError, ModelBroken
from acepilot.models.hub.client import HubFile, Published, ask_for, download, hub_troubles
from acepilot.models.json_file import MAX_BYTES, read_object
from acepilot.models.manifest import (
    CARD_FILE,
    INDEX,
    MANIFEST_FILE,
    Manifest,
    StoredFile,
    check_context,
    read_manifest,
    sha256_of,
    verified_hashes,
)
from acepilot.models.pickled_weights import PICKLED, check_torch
from acepilot.models.registry import ModelFolder, add, exclusive, find_registered, models_dir
from acepilot.models.stored_weights import rewrite_pickled
from acepilot.progress import byte_progress
from acepilot.settings import home
from acepilot.untrusted_text import printable

CONFIG_FILE = "config.json"
DEFAULT_CONTEXT_TOKENS = 2048
"""Tokens, for a config.json without any of CONTEXT_KEYS: the context of CodeGen and others of its time."""

CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx")
"""Keys of the context's length in config.json: most families; GPT-2, GPT-J and CodeGen; older ones."""

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Names of number types: in safetensors -> in torch and in our manifests."""

_SAFETENSORS = re.compile(r"model[\w.-]*\.safetensors")
_BESIDE = re.compile(r"[\w.-]+\.(json|txt|model|tiktoken)|README\.md|LICEN[CS]E[\w.-]*|NOTICE[\w.-]*")


def fetched(hub_id: str, revision: str | None = None) -> ModelFolder:
    """Return the model with this hub id; fetch it into the registry if it is not there yet.

    `revision` is a commit, branch or tag; None is the hub's default branch. Raises ModelNotFound when the
    hub has no such model, DownloadFailed when the download fails, NotEnoughDisk, and ModelBroken or
    ConfigError when the hub's files are not a model that can be served.
    """
    name = _registry_name(hub_id, revision)
    with exclusive(f"model-{name}"):
        return find_fetched(hub_id, revision) or _fetch(hub_id, revision, name)


def find_fetched(hub_id: str, revision: str | None = None) -> ModelFolder | None:
    """Return the model with this hub id if it is in the registry; ask no hub."""
    name = _registry_name(hub_id, revision)
    if found := find_registered(name):
        return found
    folder = models_dir() / name
    if (folder / CONFIG_FILE).is_file():  # a user put it there by hand, as the message for offline use says
        return ModelFolder(name, folder, None)
    return None


def _registry_name(hub_id: str, revision: str | None) -> str:
    return "--".join([hub_id, revision] if revision else [hub_id]).replace("/", "--")


def _fetch(hub_id: str, revision: str | None, name: str) -> ModelFolder:
    with hub_troubles(hub_id, name):
        published = ask_for(hub_id, revision)
        folder = home() / "downloads" / name / published.revision[:12]  # `ask_for` checked: a commit
        folder.mkdir(parents=True, exist_ok=True)
        manifest = _own_manifest(published, folder)
        if manifest:  # the model was published with Acepilot
            wanted = _named_in(manifest, published)
            _download_all(published, wanted, folder)
            files = [file.name for file in wanted]
            try:
                verified_hashes(folder)
            except ModelBroken:
                shutil.rmtree(folder)  # otherwise the next try would find the bad files again
                raise
        else:
            wanted = _wanted(published)
            if any(PICKLED.fullmatch(file.name) for file in wanted):
                check_torch(hub_id)  # before gigabytes are fetched that nothing here can read
            _download_all(published, wanted, folder)
            files = rewrite_pickled(folder, [file.name for file in wanted])
            manifest = _manifest(name, published, folder, files)
        model = add(name, {folder / file: file for file in files}, manifest)
        shutil.rmtree(folder.parent)
        return model


def _download_all(published: Published, files: list[HubFile], folder: Path) -> None:
    """Raises NotEnoughDisk before the first byte."""
    total_bytes = sum(file.size_bytes for file in files)
    # While pickled weights are rewritten, they are on the disk twice.
    peak_bytes = total_bytes + sum(file.size_bytes for file in files if PICKLED.fullmatch(file.name))
    missing_bytes = peak_bytes - sum(path.stat().st_size for path in folder.rglob("*"))
    check_room(home(), missing_bytes, published.id, HOME_ADVICE)
    before = 0
    with byte_progress(f"fetching {published.id}", total_bytes) as on_progress:
        for file in files:
            download(published, file, folder, lambda done, before=before: on_progress(before + done))
            before += file.size_bytes


def _own_manifest(published: Published, folder: Path) -> Manifest | None:
    """Return the published manifest if it is one of ours: other programs use this file name too."""
    file = next((file for file in published.files if file.name == MANIFEST_FILE), None)
    if file is None or file.size_bytes > MAX_BYTES:
        return None
    download(published, file, folder, lambda _: None)
    try:
        return read_manifest(folder)
    except ModelBroken:
        return None


def _named_in(manifest: Manifest, published: Published) -> list[HubFile]:
    there = {file.name: file for file in published.files}
    missing = [name for name in manifest.files if name not in there]
    if missing:
        raise ModelBroken(
            f"{published.id} has a {MANIFEST_FILE} that does not fit its files "
            f"({printable(', '.join(missing))}): its publisher has to correct it."
        )
    return [there[name] for name in {**manifest.files, CARD_FILE: None} if name in there]


def _wanted(published: Published) -> list[HubFile]:
    """Return the files that the model needs, of those at the top of its repository."""
    names = [file.name for file in published.files]
    weights = [name for name in names if _SAFETENSORS.fullmatch(name)]
    weights = weights or [name for name in names if PICKLED.fullmatch(name)]
    if CONFIG_FILE not in names or not weights:
        ggufs = [name for name in names if name.endswith(".gguf")]
        hint = f" Download one of its GGUF files ({', '.join(ggufs)}) and give its path." if ggufs else ""
        raise ConfigError(
            f"{published.id} cannot be served from the hub: it lacks {CONFIG_FILE} or weights "
            f"(model.safetensors, pytorch_model.bin).{hint}"
        )
    # The index of pickled weights is not needed: rewriting makes a new one.
    whole = {re.sub(r"-\d+-of-\d+", "", name) for name in weights if not PICKLED.fullmatch(name)}
    beside = {name for name in names if _BESIDE.fullmatch(name) and name != MANIFEST_FILE}
    beside -= {name for name in beside if name.endswith(INDEX) and name.removesuffix(INDEX) not in whole}
    return [file for file in published.files if file.name in beside or file.name in weights]


def _manifest(name: str, published: Published, folder: Path, files: list[str]) -> Manifest:
    try:
        config = read_object(folder / CONFIG_FILE)
        known = (config[key] for key in CONTEXT_KEYS if config.get(key))
        context_tokens = int(next(known, DEFAULT_CONTEXT_TOKENS))
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelBroken(f"The {CONFIG_FILE} of {published.id} cannot be read.") from error
    check_context(context_tokens, published.id)
    notes = f"Fetched from the hub at revision {published.revision}."
    if published.base:
        notes += f" According to its card, it was tuned from {published.base}."
    return Manifest(
        id=name,
        format="safetensors",
        files={
            file: StoredFile(sha256=sha256_of(folder / file), size_bytes=(folder / file).stat().st_size)
            for file in files
        },
        base=published.id,
        licence=published.licence,
        dtype=_dtype(folder, files),
        context_tokens=context_tokens,
        notes=notes,
    )


def _dtype(folder: Path, files: list[str]) -> str:
    """Return the number type of most tensors."""
    weights = next(file for file in files if file.endswith(".safetensors"))
    try:
        with (folder / weights).open("rb") as file:
            header_bytes = min(struct.unpack("<Q", file.read(8))[0], MAX_BYTES)
            header: dict[str, Any] = json.loads(file.read(header_bytes))
        kinds = Counter(str(tensor["dtype"]) for name, tensor in header.items() if name != "__metadata__")
        most = kinds.most_common(1)[0][0]
        return DTYPES.get(most, most)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise ModelBroken(f"{weights} is not a safetensors file: its publisher has to correct it.") from error
