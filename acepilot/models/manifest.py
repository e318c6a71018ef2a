"""A model folder's `manifest.json`: what the model is, where it comes from, and its files' hashes."""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from acepilot.disk import explain_full_disk
from acepilot.errors import ModelBroken
from acepilot.models.json_file import MAX_BYTES
from acepilot.untrusted_text import printable

MANIFEST_FILE = "manifest.json"
CARD_FILE = "README.md"
INDEX = ".index.json"
"""End of the name of the file that says which of several weight files holds which tensor."""

MIN_CONTEXT_TOKENS = 64
"""Tokens. A model with less has no room for a prompt and an answer: every completion would be refused."""
MAX_CONTEXT_TOKENS = 100_000_000
"""Tokens. Ten times the longest context of a published model; a larger number is a mistake."""

MAX_DEPTH = 10
"""Folders inside each other in a model's folder: published models have at most two."""
MAX_FILES = 10_000
"""Files in a model's folder: the largest published models have some 200."""

MAX_LINE_CHARS = 1000
"""Characters of a text in a manifest; paths of model folders are the longest."""

ModelFormat = Literal["gguf", "openvino", "safetensors"]


class FilePart(BaseModel):
    """A JSON file that Acepilot writes and reads, or a part of one. An unknown field in it is an error."""

    model_config = ConfigDict(extra="forbid")


def _line(text: str) -> str:
    if not text.isprintable() or len(text) > MAX_LINE_CHARS:
        raise ValueError(f"must be one line of at most {MAX_LINE_CHARS} printable characters")
    return text


def _file_name(name: str) -> str:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or len(parts) > MAX_DEPTH or set(name) & set("\\:"):
        raise ValueError(
            f"must name a file inside the model's folder, at most {MAX_DEPTH} folders deep, without \\ and :"
        )
    return _line(name)


Line = Annotated[str, AfterValidator(_line)]
"""A text that a terminal or a model card can show as it is: manifests come from anybody."""

FileName = Annotated[str, AfterValidator(_file_name)]


class StoredFile(FilePart):
    sha256: str
    size_bytes: int = Field(ge=0)


class Tuning(FilePart):
    """How a model was tuned from its base: enough to repeat the run, and to judge it at a glance."""

    method: Literal["full", "lora"]
    base_revision: Line | None
    alpha: float = Field(gt=0, le=1, description="base + alpha * (tuned - base).")
    weights: Literal["best", "last"]
    step: int = Field(ge=0)
    tokens: int = Field(ge=0, description="Tokens of the whole run that counted for the loss.")
    heldout_loss_before: dict[Line, float] = Field(description="Nats a token by language; `all`: the mean.")
    heldout_loss_after: dict[Line, float] = Field(description="The same after the run, with alpha 1.")
    config: dict[str, Any] = Field(description="The recipe of the run.")
    git_commit: Line | None = Field(description="Commit of the training code; null outside a git checkout.")


class Manifest(FilePart):
    """What is in a model's folder, and where it comes from."""

    id: Line
    format: ModelFormat
    files: dict[FileName, StoredFile] = Field(description="The files by their names inside the folder.")
    base: Line = Field(description="The published model that this one is, or was tuned from.")
    source_sha256: Line | None = Field(default=None, description="Hash of the published file, if rewritten.")
    licence: Line
    dtype: Line
    context_tokens: int = Field(ge=MIN_CONTEXT_TOKENS, le=MAX_CONTEXT_TOKENS)
    data_hash: Line | None = Field(default=None, description="Hash of its corpus; null: not tuned.")
    tuning: Tuning | None = Field(default=None, description="null: not tuned.")
    notes: Line = ""

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 that `file_hashes` must find, by name: the card is not compared."""
        return {name: file.sha256 for name, file in self.files.items() if name != CARD_FILE}


def check_context(context_tokens: int, model: str | Path) -> None:
    """Raise ModelBroken when `model` states a context that no manifest may have."""
    if not MIN_CONTEXT_TOKENS <= context_tokens <= MAX_CONTEXT_TOKENS:
        raise ModelBroken(
            f"{model} states a context of {context_tokens} tokens: a model that completes code has at least "
            f"{MIN_CONTEXT_TOKENS}. Whoever published it has to correct its configuration."
        )


def read_manifest(folder: Path) -> Manifest:
    """Read the folder's manifest. Raises ModelBroken when it is missing or damaged."""
    path = folder / MANIFEST_FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelBroken(f"{path} is over {MAX_BYTES // 10**6} MB: fetch or export the model again.")
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelBroken(f"{folder} has no {MANIFEST_FILE}: fetch or export the model again.") from error
    except ValidationError as error:
        mistakes = "\n".join(
            f"  {printable('.'.join(str(part) for part in item['loc']), 100)}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)[:10]
        )
        raise ModelBroken(f"{path} is damaged: fetch or export the model again.\n{mistakes}") from error
    except UnicodeDecodeError as error:
        raise ModelBroken(f"{path} is damaged: fetch or export the model again.\n{error}") from error


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the folder's manifest, as a whole or not at all."""
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` in one step: a reader sees the old text or the new one, never a part of it.

    The bytes reach the disk before the rename, so that this holds even if the power fails. Raises
    NotEnoughDisk.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with explain_full_disk(path.parent, f"{path.name} stays as it was. Free some space and try again."):
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def file_hashes(model: Path, on_progress: Callable[[int], None] = lambda _: None) -> dict[str, str]:
    """Return the sha256 of each file of the model, by its name inside the folder; `model` may be one file.

    The hashes are computed from the bytes on the disk. Files that change no completion are left out: the
    manifest, the model card, and hidden files, which downloads and desktops leave behind. `on_progress` gets
    the bytes read so far. Raises ModelBroken when there is no file.
    """
    if model.is_file():
        return {model.name: sha256_of(model, on_progress)}
    hashes: dict[str, str] = {}
    before = 0
    for name, path in model_files(model).items():
        hashes[name] = sha256_of(path, lambda done, before=before: on_progress(before + done))
        before += path.stat().st_size
    if not hashes:
        raise ModelBroken(f"{model} holds no files of a model: fetch or export the model again.")
    return hashes


def verified_hashes(folder: Path, on_progress: Callable[[int], None] = lambda _: None) -> dict[str, str]:
    """Return `file_hashes` of a folder. Raises ModelBroken when its manifest states other hashes."""
    stated = read_manifest(folder).hashes
    computed = file_hashes(folder, on_progress)
    if computed != stated:
        raise ModelBroken(
            f"The files in {folder} are not those of its manifest ({difference(stated, computed)}): remove "
            "the folder, then fetch, export or add the model again."
        )
    return computed


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Describe how `found`, hashes by name, differs from `expected`; empty if it does not."""
    differences = [f"{name} is missing" for name in expected if name not in found]
    differences += [f"{name} is unexpected" for name in found if name not in expected]
    differences += [
        f"{name} has changed" for name in found if name in expected and found[name] != expected[name]
    ]
    return ", ".join(differences[:3]) + (f" and {len(differences) - 3} more" if len(differences) > 3 else "")


def model_files(folder: Path) -> dict[str, Path]:
    """Return the files that `file_hashes` reads, by their names inside the folder, sorted.

    Raises ModelBroken when the folder has more files or deeper folders than any model.
    """
    found: list[Path] = []
    level = [folder]
    for _ in range(MAX_DEPTH):
        inside = [path for one in level for path in one.iterdir() if not path.name.startswith(".")]
        found += [path for path in inside if path.is_file()]
        level = [path for path in inside if path.is_dir() and not path.is_symlink()]
        if len(found) + len(level) > MAX_FILES:
            break
    if level or len(found) > MAX_FILES:
        raise ModelBroken(
            f"{folder} is not a model's folder: it has over {MAX_FILES:,} files, or folders inside each "
            f"other more than {MAX_DEPTH} deep. Give the folder that holds the model's files only."
        )
    files = {path.relative_to(folder).as_posix(): path for path in sorted(found)}
    return {name: path for name, path in files.items() if name not in (MANIFEST_FILE, CARD_FILE)}


def sha256_of(path: Path, on_progress: Callable[[int], None] = lambda _: None) -> str:
    """Return the hash of a file; `on_progress` gets the bytes read so far."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
            done += len(chunk)
            on_progress(done)
    return digest.hexdigest()
