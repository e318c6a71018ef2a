"""What a user wrote after `--model`, turned into files on this disk."""

from pathlib import Path

from acepilot.errors import ModelNotFound
from acepilot.models.hub.fetch import fetched
from acepilot.models.manifest import MANIFEST_FILE, read_manifest
from acepilot.models.model_card import HUB_ID
from acepilot.models.promotion_history import read_history
from acepilot.models.registry import CURRENT, ModelFolder, models_dir, registered_names


def resolve(model: str) -> ModelFolder:
    """`model` is a name in the registry, `current`, a folder, a GGUF file, or a hub id.

    What is `current` goes by its own name in the answer. A model that is named by its hub id, OWNER/NAME, is
    fetched the first time. Raises ModelNotFound with what to do, and what `hub.fetched` raises.
    """
    if model == CURRENT:
        return _current()
    registered = models_dir() / model
    if "/" not in model and (registered / MANIFEST_FILE).is_file():
        return ModelFolder(model, registered, read_manifest(registered))
    path = Path(model).expanduser()
    if path.is_dir():
        has_manifest = (path / MANIFEST_FILE).is_file()
        return ModelFolder(path.resolve().name, path.resolve(), read_manifest(path) if has_manifest else None)
    if path.suffix == ".gguf" and path.is_file():
        return ModelFolder(path.stem, path.resolve(), None)
    if HUB_ID.fullmatch(model) and path.suffix != ".gguf":
        return fetched(model)
    known = ", ".join(registered_names())
    raise ModelNotFound(
        f"There is no model `{model}`: neither a folder, a .gguf file, a hub id (OWNER/NAME) nor a name in "
        f"{models_dir()} (there: {known or 'nothing'}). `python -m acepilot.models fetch starter` "
        "fetches the starter model."
    )


def _current() -> ModelFolder:
    served = read_history().current
    if served is None:
        raise ModelNotFound(
            "No model was promoted yet, so nothing is `current`: `python -m acepilot.models promote "
            "NAME --report GATE_JSON` does that. Until then give a model's own name, such as starter."
        )
    path = models_dir() / served.name
    if not (path / MANIFEST_FILE).is_file():
        raise ModelNotFound(
            f"`current` is {served.name}, which is no longer in {models_dir()}: add it again, or "
            "`python -m acepilot.models rollback` to the one before."
        )
    return ModelFolder(served.name, path, read_manifest(path))
