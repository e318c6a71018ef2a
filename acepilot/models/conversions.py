"""Conversions of models in ACEPILOT_HOME/cache: made once, checked at each use, made again if damaged."""

import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from acepilot.disk import HOME_ADVICE, explain_full_disk
from acepilot.errors import ConfigError, ModelBroken
from acepilot.models.known_hashes import known_hashes, sync_to_disk
from acepilot.models.manifest import FilePart, difference, file_hashes, sha256_of, write_atomically
from acepilot.models.registry import exclusive

CONVERSION_FILE = "conversion.json"


class Conversion(FilePart):
    """What a kept conversion is: the last file that is written into its folder."""

    made_from: str = Field(description="The source's sha256, and the versions of what converted it.")
    files: dict[str, str] = Field(description="sha256 by name inside the folder, without this file.")


@dataclass(frozen=True)
class Source:
    """The file that a conversion reads, and the hash that it had when `made_from` was chosen."""

    path: Path
    sha256: str

    @contextmanager
    def unchanged(self) -> Generator[None]:
        """Raise ModelBroken unless the file is the one with `sha256` before, during and after the block.

        Its hash alone does not say that: another file may have had its place during the block.
        """
        before = self._state()
        yield
        if self._state() != before or sha256_of(self.path) != self.sha256 or self._state() != before:
            raise ModelBroken(
                f"{self.path} changed while it was converted, so the result was discarded. Try again when "
                "no program writes to it."
            )

    def _state(self) -> tuple[int, ...]:
        sync_to_disk(self.path)
        stat = self.path.stat()
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns


def make_once(
    folder: Path,
    made_from: str,
    make: Callable[[Path], object],
    *,
    on_fault: Callable[[str], None],
    source: Source | None = None,
    again: bool = False,
) -> bool:
    """Let `make` fill `folder`, unless that holds a whole conversion of `made_from`; return True if it did.

    `made_from` names everything that the result depends on, and `source` is the file that `make` reads, if it
    reads one. `on_fault` gets the reason why a folder that is there is replaced. With `again` the folder is
    replaced even if its files are whole. Raises NotEnoughDisk, ConfigError when ACEPILOT_HOME cannot be
    written, ModelBroken when `source` changes meanwhile, and what `make` raises.
    """
    if not again and _fault(folder, made_from) is None:
        return False
    with _locked(folder):
        fault = "it does not open" if again else _fault(folder, made_from)
        if fault is None:  # another process made it while this one waited
            return False
        if folder.exists():
            on_fault(fault)
        staging = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(staging, ignore_errors=True)  # a crash may have left it
        try:
            with explain_full_disk(folder.parent, HOME_ADVICE):
                staging.mkdir(parents=True)
                with source.unchanged() if source else nullcontext():
                    make(staging)
                conversion = Conversion(made_from=made_from, files=file_hashes(staging))
                write_atomically(staging / CONVERSION_FILE, conversion.model_dump_json(indent=2) + "\n")
                if folder.exists():
                    shutil.rmtree(folder)
                staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return True


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(f"{folder.parent.name}-{folder.name}"))
        except ConfigError as error:
            raise ConfigError(
                f"This version has to convert the model once, into {folder}. {error.message} After one start "
                "with a home that can be written, it may be read-only again."
            ) from error
        yield


def _fault(folder: Path, made_from: str) -> str | None:
    """Return why the folder cannot be used, None if it can."""
    try:
        kept = Conversion.model_validate_json((folder / CONVERSION_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"it has no {CONVERSION_FILE}"
    except (ValidationError, UnicodeDecodeError):
        return f"its {CONVERSION_FILE} is damaged"
    if kept.made_from != made_from:
        return "it was made from another model, or by another version"
    found = known_hashes(folder)
    del found[CONVERSION_FILE]
    return difference(kept.files, found) or None
