"""Talk to a hub through huggingface_hub: list a model's files at one revision, and download them.

The hub is HF_ENDPOINT, by default huggingface.co; HF_TOKEN and HF_HUB_OFFLINE are obeyed. huggingface_hub is
imported, and the network used, only after the user gave a hub id.
"""

import io
import json
import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from acepilot.disk import explain_full_disk
from acepilot.errors import AcepilotError, ConfigError, DownloadFailed, ModelNotFound
from acepilot.models.manifest import sha256_of
from acepilot.models.registry import models_dir
from acepilot.settings import home
from acepilot.untrusted_text import printable

MAX_DESCRIPTION_BYTES = 16_000_000
"""Bytes of a hub's description of a model; one with 10,000 files has some 4 MB. A hostile one has no end."""

MAX_CARD_CHARS = 200
"""Characters of a licence or of a base model's name that are kept from a model's card."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


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
    """A file that reports its length after each write, and refuses to become longer than `max_bytes`."""

    def __init__(self, path: Path, max_bytes: int, on_progress: Callable[[int], None]) -> None:
        super().__init__(path, "a")
        self._max_bytes = max_bytes
        self._on_progress = on_progress

    def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.tell() + len(data) > self._max_bytes:
            self.truncate(0)  # what came is not the file: the next try must not resume it
            raise DownloadFailed(
                f"{Path(str(self.name)).stem} is longer than the {self._max_bytes} bytes that the hub "
                "stated; what came was removed. Check HF_ENDPOINT and the proxy."
            )
        written = super().write(data)
        self._on_progress(self.tell())
        return written


def ask_for(hub_id: str, revision: str | None = None) -> Published:
    """Return what the hub has under this id. Raises what huggingface_hub raises: see `hub_troubles`."""
    info: Any = _description(hub_id, revision)
    if not _COMMIT.fullmatch(info.sha or ""):  # it becomes a part of a path
        raise DownloadFailed(
            f"The hub names no commit of {hub_id} (40 hexadecimal digits), but "
            f"`{printable(str(info.sha), 60)}`. Check HF_ENDPOINT and the proxy."
        )
    card = info.card_data
    files: list[Any] = info.siblings or []
    base: Any = card.get("base_model") if card else None
    if isinstance(base, list):
        base = next(iter(cast(list[Any], base)), None)
    licence: Any = (card.get("license") if card else None) or "unknown: see its page on the hub"
    return Published(
        id=hub_id,
        revision=info.sha,
        licence=printable(str(licence), MAX_CARD_CHARS),
        base=printable(str(base), MAX_CARD_CHARS) if base else None,
        files=tuple(
            HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None) for file in files
        ),
    )


def _description(hub_id: str, revision: str | None) -> Any:
    """Return huggingface_hub's ModelInfo. HfApi would read an answer of any length into memory."""
    from huggingface_hub import ModelInfo, constants, get_session
    from huggingface_hub.utils import build_hf_headers as headers_of  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.utils import hf_raise_for_status

    url = f"{constants.ENDPOINT}/api/models/{hub_id}"
    if revision is not None:
        url += f"/revision/{quote(revision, safe='')}"
    headers = {**headers_of(), "Accept-Encoding": "identity"}  # a small compressed answer may be huge
    body = bytearray()
    timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream(
        "GET", url, params={"blobs": True}, headers=headers, timeout=timeout_s, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > MAX_DESCRIPTION_BYTES:
                raise DownloadFailed(
                    f"The hub's description of {hub_id} is longer than {MAX_DESCRIPTION_BYTES // 10**6} MB. "
                    "Check HF_ENDPOINT and the proxy."
                )
    return ModelInfo(**json.loads(body))


def download(published: Published, file: HubFile, folder: Path, on_progress: Callable[[int], None]) -> None:
    """Download the file into `folder`; resume an earlier try. `on_progress` gets the file's bytes so far."""
    from huggingface_hub import file_download, hf_hub_url, utils

    target, part = folder / file.name, folder / f"{file.name}.part"
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DownloadFailed(f"The hub names a file outside the model's folder: {printable(file.name)}")
    if target.is_file():
        on_progress(file.size_bytes)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if part.exists() and part.stat().st_size > file.size_bytes:
        part.unlink()
    with _FileWithProgress(part, file.size_bytes, on_progress) as out:
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
def _error_bodies_unread() -> Generator[None]:
    """Close the hub's error answers before huggingface_hub reads them: it sets no limit, and the header has
    the reason."""
    from huggingface_hub import get_session

    def close(response: Any) -> None:
        if response.is_error:
            response.close()

    session = get_session()
    hooks = session.event_hooks
    session.event_hooks = {**hooks, "response": [*hooks.get("response", []), close]}
    try:
        yield
    finally:
        session.event_hooks = hooks


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
        with (
            explain_full_disk(
                home(), f"free some space and start again; what was fetched of {hub_id} is kept."
            ),
            _error_bodies_unread(),
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
        why = (
            "HF_HUB_OFFLINE is set"
            if constants.HF_HUB_OFFLINE
            else f"{type(error).__name__}: {printable(str(error))}"
        )
        raise DownloadFailed(
            f"There is no local folder `{hub_id}`, and fetching it from {constants.ENDPOINT} failed ({why}). "
            "What was fetched is kept: start again. If this machine cannot reach the hub, put the model's "
            f"files (config.json, tokenizer, *.safetensors) into {models_dir() / name} and start again."
        ) from error
