"""Turn a user's word for a model into files on this disk, for every program that takes a model."""

from dataclasses import replace
from pathlib import Path

from acepilot.errors import ModelNotFound
from acepilot.models.hub.fetch import fetched, find_fetched
from acepilot.models.manifest import MANIFEST_FILE, read_manifest
from acepilot.models.model_card import HUB_ID
from acepilot.models.promotion_history import read_history
from acepilot.models.registry import CURRENT, ModelFolder, find_registered, models_dir, registered_names


def resolve(model: str, revision: str | None = None) -> ModelFolder:
    """Return the model that `model` means; a hub id (OWNER/NAME) is fetched the first time.

    `model` is a name in the registry, `current`, a folder, a .gguf file, or a hub id. The working directory
    may be a stranger's, so a folder in it must look like a path: NAME is only in the registry, and OWNER/NAME
    only on the hub. The model behind `current` is returned under its own name, with the hashes that it was
    promoted with. `revision` is a commit, branch or tag of a hub id; other models have none, and ignore it.
    Raises ModelNotFound, whose message says what to do, and what `fetched` raises.
    """
    if found := find_on_disk(model, revision):
        return found
    if Path(model).is_dir():
        meaning = "the hub's model" if _is_hub_id(model) else f"a name in {models_dir()}"
        raise ModelNotFound(
            f"`{model}` means {meaning}, which is not on this machine; but there is a folder {model} here. "
            f"Give ./{model} for the folder; otherwise, run this in another folder."
        )
    if _is_hub_id(model):
        return fetched(model, revision)
    known = ", ".join(registered_names())
    raise ModelNotFound(
        f"There is no model `{model}`: it is neither a folder, nor a .gguf file, nor a hub id (OWNER/NAME), "
        f"nor a name in {models_dir()} (there: {known or 'nothing'}). `python -m acepilot.models fetch "
        "starter` fetches the starter model."
    )


def find_on_disk(model: str, revision: str | None = None) -> ModelFolder | None:
    """Return what `resolve` returns, or None when the model would have to be fetched from a hub."""
    if model == CURRENT:
        return _current()
    if found := find_registered(model):
        return found
    path = Path(model).expanduser()
    if path.is_dir() and _is_path(model):
        has_manifest = (path / MANIFEST_FILE).is_file()
        return ModelFolder(path.resolve().name, path.resolve(), read_manifest(path) if has_manifest else None)
    if path.suffix == ".gguf" and path.is_file():
        return ModelFolder(path.stem, path.resolve(), None)
    return find_fetched(model, revision) if _is_hub_id(model) else None


def _is_path(model: str) -> bool:
    """Return whether `model` can only be a path: ./x, ../x, /x, ~/x, x/y/z; but not NAME or OWNER/NAME."""
    return (
        model in (".", "..")
        or model.startswith(("./", "../", "~"))
        or ("/" in model and not _is_hub_id(model))
    )


def _is_hub_id(model: str) -> bool:
    return HUB_ID.fullmatch(model) is not None and not model.endswith(".gguf")


def _current() -> ModelFolder:
    served = read_history().current
    if served is None:
        raise ModelNotFound(
            "No model has been promoted yet, so `current` means nothing: `python -m acepilot.models promote "
            "NAME --report GATE_JSON` promotes one. Until then give a model's own name, such as starter."
        )
    if (current := find_registered(served.name)) is None:
        raise ModelNotFound(
            f"`current` is {served.name}, which is no longer in {models_dir()}: add it again, or go back to "
            "the model before it with `python -m acepilot.models rollback`."
        )
    return replace(current, promoted=served.files, promoted_manifest=served.manifest_sha256)
