"""What was judged is what is served: compare a model's files with its promotion or manifest."""

from collections.abc import Callable

from acepilot.errors import ModelBroken
from acepilot.models.known_hashes import known_hashes
from acepilot.models.manifest import MANIFEST_FILE, difference, sha256_of
from acepilot.models.registry import ModelFolder


def check_served_files(model: ModelFolder, on_read: Callable[[int], None] = lambda _: None) -> None:
    """Raise ModelBroken when the model's files are not those that its promotion or its manifest states.

    The manifest itself must be the promoted one, if that was recorded: it states the context's length.
    Files that came without a manifest are not checked. `on_read` gets the bytes to read, if a full check is
    needed: it takes about a second a gigabyte.
    """
    if (stated := model.stated_hashes) is None:
        return
    changes = difference(stated, known_hashes(model.path, on_read))
    if model.promoted_manifest is not None and not changes:
        is_promoted = sha256_of(model.path / MANIFEST_FILE) == model.promoted_manifest
        changes = "" if is_promoted else f"{MANIFEST_FILE} has changed"
    if not changes:
        return
    if model.promoted is not None:
        raise ModelBroken(
            f"The files in {model.path} are not those that were promoted ({changes}): they are not served. "
            "Restore them, judge and promote the new ones, or go back to the model before: "
            "`python -m acepilot.models rollback`."
        )
    raise ModelBroken(
        f"The files in {model.path} are not those of its manifest ({changes}): they are not served. "
        "Restore them, or remove the folder, then fetch, export or add the model again."
    )
