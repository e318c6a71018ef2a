"""What is asked of a hub, through huggingface_hub: a model's files at one revision, and their bytes.

The hub is that of HF_ENDPOINT, else huggingface.co; HF_TOKEN and HF_HUB_OFFLINE are obeyed. Nothing here is
imported, and nothing asked, until a hub id was named.
"""

import io
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acepilot.disk import explain_full_disk
from acepilot.errors import AcepilotError, ConfigError, DownloadFailed, ModelNotFound
from acepilot.models.manifest import sha256_of
from acepilot.models.registry import models_dir
from acepilot.settings import home


@dataclass(frozen=True)
class HubFile:
    """`sha256` is None for a small file, of which the hub does not tell it."""

    name: str
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Published:
    """A model at one revision. `base`: what its card says that it was tuned from."""

    id: str
    revision: str
    licence: str
    base: str | None
    files: tuple[HubFile, ...]


class _Told(io.FileIO):
    """A file that tells how long it is at each write."""

    def __init__(self, path: Path, on_progress: Callable[[int], None]) -> None:
        super().__init__(path, "a")
        self._told = on_progress

    def write(self, data: object, /) -> int:
        written = super().write(data)  # pyright: ignore[reportArgumentType]
        self._told(self.tell())
        return written


def ask_for(hub_id: str, revision: str | None = None) -> Published:
    """Return what the hub has under this id. Raises what huggingface_hub raises: see `hub_troubles`."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
    card = info.card_data
    bases: str | list[str] | None = card.get("base_model") if card else None
    return Published(
        id=hub_id,
        revision=info.sha or "main",
        licence=str((card.get("license") if card else None) or "not told: see its page on the hub"),
        base=bases[0] if isinstance(bases, list) else bases,
        files=tuple(
            HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
            for file in info.siblings or []
        ),
    )


def download(published: Published, file: HubFile, folder: Path, on_progress: Callable[[int], None]) -> None:
    """Writes the file into `folder`, from where an earlier try stopped. `told` hears its bytes so far."""
    from huggingface_hub import file_download, hf_hub_url, utils

    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.is_file():
        on_progress(file.size_bytes)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if part.exists() and part.stat().st_size > file.size_bytes:
        part.unlink()
    with _Told(part, on_progress) as out:
        file_download.http_get(
            hf_hub_url(published.id, file.name, revision=published.revision),
            out,
            resume_size=out.tell(),
            headers=utils.build_hf_headers(),
            expected_size=file.size_bytes,
        )
    if file.sha256 and sha256_of(part) != file.sha256:
        part.unlink()
        raise DownloadFailed(f"{file.name} came with other bytes than the hub has: removed. Start again.")
    part.rename(target)


@contextmanager
def hub_troubles(hub_id: str, name: str) -> Generator[None]:
    """Tells whatever huggingface_hub raises in a sentence. `name`: the model's in our registry."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read at the import
    try:
        from huggingface_hub import constants
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise ConfigError(
            f"Fetching {hub_id} needs huggingface_hub: pip install -e '.[server]' in Acepilot's folder, or "
            "give a model's folder."
        ) from error
    disable_progress_bars()  # the progress is told here
    page = f"{constants.ENDPOINT}/{hub_id}"
    try:
        with explain_full_disk(
            home(), f"free some space and start again; what was fetched of {hub_id} is kept."
        ):
            yield
    except AcepilotError:
        raise
    except GatedRepoError as error:
        raise DownloadFailed(
            f"{hub_id} is given to those who agreed to its terms: do that at {page}, then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"`{hub_id}` is no folder here, and {page} does not exist, or is private: check the name; for a "
            "private one set HF_TOKEN."
        ) from error
    except Exception as error:  # the client lets through what its ways of transport raise
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{type(error).__name__}: {error}"
        raise DownloadFailed(
            f"`{hub_id}` is no folder here, and {constants.ENDPOINT} did not give it ({why}). What was "
            "fetched is kept: start again. Without a way to the hub, put the model's files (config.json, the "
            f"tokenizer's, *.safetensors) into {models_dir() / name}, and start again."
        ) from error
