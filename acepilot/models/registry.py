"""The registry of models: one folder with a manifest for each, under `ACEPILOT_HOME/models/`.

`add` and `register` put a finished folder in place in one step, so that a reader never sees half a model.
resolve.py finds a model in the registry or elsewhere; promotion.py decides which one is `current`.
"""

import re
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from tempfile import mkdtemp

from acepilot.disk import HOME_ADVICE, check_room, explain_full_disk, is_full_disk
from acepilot.errors import ConfigError, ModelBroken, ModelNotFound, NotEnoughDisk
from acepilot.models.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    Manifest,
    model_files,
    read_manifest,
    verified_hashes,
    write_manifest,
)
from acepilot.settings import home

CURRENT = "current"
"""Means the model that was promoted last; so no model can have this name."""

VOCABULARY_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")
"""A folder whose tokenizer can be read has at least one of these files."""

FULL_DISK_ADVICE = "free some space, then fetch or add again."

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class ModelFolder:
    """A model on this disk: a folder, or one GGUF file. `manifest` is None if the files came without one.

    `promoted` has the sha256 of each file by name, as the model was promoted, if it is meant as `current`.
    `promoted_manifest` is the sha256 of its manifest then; None if the promotion did not record it.
    """

    name: str
    path: Path
    manifest: Manifest | None
    promoted: Mapping[str, str] | None = None
    promoted_manifest: str | None = None

    @property
    def stated_hashes(self) -> Mapping[str, str] | None:
        """The sha256 that each file must have, by name; None if nothing states them."""
        return self.promoted if self.promoted is not None else self.manifest and self.manifest.hashes

    @property
    def gguf(self) -> Path | None:
        """The folder's one GGUF file, or None. Raises ModelBroken when there are several."""
        if self.path.is_file():
            return self.path
        found = self._with_suffix(".gguf")
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ModelBroken(f"{self.path} holds several GGUF files ({names}): give the path of one.")
        return found[0] if found else None

    @property
    def is_safetensors(self) -> bool:
        """Return whether the folder holds safetensors. OpenVINO and llama.cpp cannot read them."""
        return self.path.is_dir() and bool(self._with_suffix(".safetensors"))

    @property
    def has_tokenizer(self) -> bool:
        """Return whether a tokenizer is here. Without its files, transformers would invent an empty one."""
        return self.gguf is not None or any((self.path / name).is_file() for name in VOCABULARY_FILES)

    def _with_suffix(self, suffix: str) -> list[Path]:
        """Return the folder's files by suffix, without hidden ones: desktops leave `._model.gguf` behind."""
        return sorted(path for path in self.path.glob(f"*{suffix}") if not path.name.startswith("."))


def models_dir() -> Path:
    return home() / "models"


def find_registered(name: str) -> ModelFolder | None:
    path = models_dir() / name
    if "/" in name or name.startswith(".") or not (path / MANIFEST_FILE).is_file():
        return None
    return ModelFolder(name, path, read_manifest(path))


def registered(name: str) -> ModelFolder:
    """Return the model with this name in the registry. Raises ModelNotFound."""
    if model := find_registered(name):
        return model
    raise ModelNotFound(
        f"`{name}` is not in the registry {models_dir()} (there: {', '.join(registered_names()) or 'nothing'}"
        "): `python -m acepilot.models add FOLDER` adds a model."
    )


def registered_names() -> list[str]:
    found = (manifest.parent.name for manifest in models_dir().glob(f"*/{MANIFEST_FILE}"))
    return sorted(name for name in found if not name.startswith("."))  # hidden: still being written


def add(name: str, files: dict[Path, str], manifest: Manifest) -> ModelFolder:
    """Move `files` (path -> name inside) to `models/<name>`, replacing a model of that name in one step."""
    with _staging(name) as staging:
        for source, inside in files.items():
            (staging / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, staging / inside)
        write_manifest(manifest, staging)
        target = models_dir() / name
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
    return ModelFolder(name, target, manifest)


def register(
    folder: Path, name: str | None = None, on_progress: Callable[[int], None] = lambda _: None
) -> ModelFolder:
    """Check a model's folder against its manifest and copy it to `models/<name>`, in one step.

    The files are copied, not linked, so that later changes to the folder do not reach a served model. `name`
    defaults to the manifest's id. `on_progress` gets the bytes checked so far. Raises ModelBroken when the
    files are not those of the manifest, and ConfigError when the name is invalid or taken.
    """
    manifest = read_manifest(folder)
    name = _checked_name(name or manifest.id)
    target = models_dir() / name
    with exclusive(f"model-{name}"):
        verified_hashes(folder, on_progress)
        if target.exists():
            if read_manifest(target) != manifest:
                raise ConfigError(
                    f"{models_dir()} has another model called {name}: choose another with --name."
                )
            verified_hashes(target)
            return ModelFolder(name, target, manifest)
        with _staging(name) as staging:
            _copy_model(folder, staging)
            staging.rename(target)
    return ModelFolder(name, target, manifest)


def _checked_name(name: str) -> str:
    if name == CURRENT or not _NAME.fullmatch(name):
        raise ConfigError(
            f"A model cannot be called `{name}`. A name has up to 96 letters, digits, `.`, `_` and `-`, "
            f"begins with a letter or digit, and is not `{CURRENT}`. Give another name with --name."
        )
    return name


def _copy_model(folder: Path, staging: Path) -> None:
    files = model_files(folder)
    for beside in (MANIFEST_FILE, CARD_FILE):
        if (folder / beside).is_file():
            files[beside] = folder / beside
    needed = sum(path.stat().st_size for path in files.values())
    check_room(models_dir(), needed, str(folder), FULL_DISK_ADVICE)
    try:
        for name, path in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, staging / name)
    except OSError as error:
        if is_full_disk(error):
            raise
        raise ModelBroken(f"{folder} could not be copied to {models_dir()}: {error}") from error


@contextmanager
def _staging(name: str) -> Generator[Path]:
    """An empty folder beside the models, gone at the end unless it was renamed. Raises NotEnoughDisk."""
    models_dir().mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(prefix=f".{name}.", dir=models_dir()))
    staging.chmod(0o755)
    try:
        with explain_full_disk(models_dir(), FULL_DISK_ADVICE):
            yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def is_whole(name: str) -> bool:
    """True when the registered model's files are there with the sizes that its manifest says."""
    folder = models_dir() / name
    if not (folder / MANIFEST_FILE).is_file():
        return False
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == file.size_bytes
        for name, file in read_manifest(folder).files.items()
    )


@contextmanager
def exclusive(name: str) -> Generator[None]:
    """Hold a lock called `name` that only one process can hold; others wait.

    Check again inside the block: another process may have done the work meanwhile. Raises ConfigError when
    ACEPILOT_HOME cannot be written, and NotEnoughDisk.
    """
    lock = home() / "locks" / f"{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        if is_full_disk(error):
            raise NotEnoughDisk(f"The disk of {home()} is full: {HOME_ADVICE}") from error
        raise ConfigError(
            f"{home()} cannot be written ({error.strerror}): set ACEPILOT_HOME to a writable folder."
        ) from error
    with file:
        flock(file, LOCK_EX)
        yield
