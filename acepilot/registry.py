"""The folder registry of models: `ACEPILOT_HOME/models/<name>/`, each folder with its manifest.

`resolve` turns what a user wrote after `--model` into files on this disk; `add` puts a finished folder in
place in one step, so that a reader never sees half a model.
"""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from tempfile import mkdtemp

from acepilot.errors import ConfigError, ModelBroken, ModelNotFound
from acepilot.manifest import MANIFEST_FILE, Manifest, ModelFile, read_manifest, write_manifest
from acepilot.settings import home


@dataclass(frozen=True)
class ModelFolder:
    """A model that is on this disk. `manifest` is None for files that came without one."""

    name: str
    path: Path
    manifest: Manifest | None

    @property
    def gguf(self) -> Path | None:
        """The folder's one GGUF file, or None. Raises ModelBroken when there are several."""
        if self.path.is_file():
            return self.path
        found = sorted(self.path.glob("*.gguf"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ModelBroken(f"{self.path} holds several GGUF files ({names}): name one of them.")
        return found[0] if found else None


def models_dir() -> Path:
    return home() / "models"


def resolve(model: str) -> ModelFolder:
    """`model` is a name in the registry, a folder, or a GGUF file. Raises ModelNotFound with what to do."""
    registered = models_dir() / model
    if "/" not in model and (registered / MANIFEST_FILE).is_file():
        return ModelFolder(model, registered, read_manifest(registered))
    path = Path(model).expanduser()
    if path.is_dir():
        has_manifest = (path / MANIFEST_FILE).is_file()
        return ModelFolder(path.resolve().name, path.resolve(), read_manifest(path) if has_manifest else None)
    if path.suffix == ".gguf" and path.is_file():
        return ModelFolder(path.stem, path.resolve(), None)
    known = ", ".join(sorted(folder.parent.name for folder in models_dir().glob(f"*/{MANIFEST_FILE}")))
    raise ModelNotFound(
        f"There is no model `{model}`: neither a folder, a .gguf file nor a name in {models_dir()} "
        f"(there: {known or 'nothing'}). `python scripts/fetch_model.py starter` fetches the starter model."
    )


def add(name: str, files: dict[Path, str], manifest: Manifest) -> ModelFolder:
    """Moves `files` (path -> name inside) under `models/<name>`, replacing what was there in one step."""
    models_dir().mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(prefix=f".{name}.", dir=models_dir()))
    try:
        for source, inside in files.items():
            shutil.move(source, staging / inside)
        write_manifest(manifest, staging)
        target = models_dir() / name
        if target.exists():
            shutil.rmtree(target)
        staging.chmod(0o755)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return ModelFolder(name, target, manifest)


def is_whole(name: str) -> bool:
    """True when the registered model's files are there with the sizes that its manifest says."""
    folder = models_dir() / name
    if not (folder / MANIFEST_FILE).is_file():
        return False
    return all(_has_size(folder / file, meta) for file, meta in read_manifest(folder).files.items())


def _has_size(path: Path, meta: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == meta.size_bytes


@contextmanager
def exclusive(name: str) -> Generator[None]:
    """Holds a lock on building `name`, across processes: the second of two waits, then finds it done.

    Raises ConfigError when ACEPILOT_HOME cannot be written.
    """
    lock = home() / "locks" / f"{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise ConfigError(
            f"{home()} cannot be written ({error.strerror}): set ACEPILOT_HOME to a folder that can."
        ) from error
    with file:
        flock(file, LOCK_EX)
        yield
