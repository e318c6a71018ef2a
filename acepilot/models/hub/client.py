"""Talk to a hub through huggingface_hub: list a model's files at one revision, and download them.

The hub is HF_ENDPOINT, by default huggingface.co; HF_TOKEN and HF_HUB_OFFLINE are obeyed. huggingface_hub is
imported, and the network used, only after the user gave a hub id.
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
    """A file on the hub. `sha256` is None for a small file, whose hash the hub does not publish."""

    name: str
    size_bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Published:
    """A model on the hub at one revision. `base` is the model it was tuned from, according to its card."""

    id: str
    revision: str
    licence: str
    base: str | None
    files: tuple[HubFile, ...]


class _FileWithProgress(io.FileIO):
    """A file that reports its length after each write."""

    def __init__(self, path: Path, on_progress: Callable[[int], None]) -> None:
        super().__init__(path, "a")
        self._on_progress = on_progress

    def write(self, data: object, /) -> int:
        written = super().write(data)  # pyright: ignore[reportArgumentType]
        self._on_progress(self.tell())
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
        licence=str((card.get("license") if card else None) or "unknown: see its page on the hub"),
        base=bases[0] if isinstance(bases, list) else bases,
        files=tuple(
            HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
            for file in info.siblings or []
        ),
    )


def download(published: Published, file: HubFile, folder: Path, on_progress: Callable[[int], None]) -> None:
    """Download the file into `folder`; resume an earlier try. `on_progress` gets the file's bytes so far."""
    from huggingface_hub import file_download, hf_hub_url, utils

    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.is_file():
        on_progress(file.size_bytes)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if part.exists() and part.stat().st_size > file.size_bytes:
        part.unlink()
    with _FileWithProgress(part, on_progress) as out:
        file_download.http_get(
            hf_hub_url(published.id, file.name, revision=published.revision),
            out,
            resume_size=out.tell(),
            headers=utils.build_hf_headers(),
            expected_size=file.size_bytes,
        )
    if file.sha256 and sha256_of(part) != file.sha256:
        part.unlink()
        raise DownloadFailed(f"{file.name} arrived with a wrong hash and was removed: run the command again.")
    part.rename(target)


@contextmanager
def hub_troubles(hub_id: str, name: str) -> Generator[None]:
    """Raise our own errors in place of huggingface_hub's. `name` is the model's name in our registry."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # read at the import
    try:
        from huggingface_hub import constants
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise ConfigError(
            f"Fetching {hub_id} needs huggingface_hub: pip install 'acepilot[server]', or give "
            "a model's folder."
        ) from error
    disable_progress_bars()  # we show the progress ourselves
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
            f"{hub_id} requires that you accept its terms: do so at {page}, then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"There is no local folder `{hub_id}` and no public model at {page}. Check the name; for a "
            "private model set HF_TOKEN."
        ) from error
    except Exception as error:  # errors of all the client's transports
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{type(error).__name__}: {error}"
        raise DownloadFailed(
            f"There is no local folder `{hub_id}`, and fetching it from {constants.ENDPOINT} failed ({why}). "
            "What was fetched is kept: start again. If this machine cannot reach the hub, put the model's "
            f"files (config.json, tokenizer, *.safetensors) into {models_dir() / name} and start again."
        ) from error
