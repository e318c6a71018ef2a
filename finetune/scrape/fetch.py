"""Scrape, step 2: fetch one source into a folder, and pin it by a commit or a hash."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from acepilot.errors import DownloadFailed
from acepilot.models.manifest import sha256_of
from finetune.scrape.archives import unpack_npm, unpack_wheel
from finetune.scrape.git_fetch import fetch_git
from finetune.scrape.source_files import SourceFiles, files_below
from finetune.scrape.sources import Source
from finetune.scrape.tools import run_tool
from finetune.scrape.unreadable import UNREADABLE, printable, why_unreadable


@dataclass(frozen=True)
class Fetched:
    """`location` and `revision` identify what was fetched; `files` counts what was kept and left out."""

    location: str
    revision: str
    files: SourceFiles


def fetch(source: Source, target: Path) -> Fetched:
    """Fill the empty folder `target`. Raises DownloadFailed, or OSError for a full disk."""
    files = SourceFiles(target)
    try:
        location, revision = _fetch(source, files)
    except DownloadFailed as error:
        raise DownloadFailed(f"{source.key}: {error.message}") from error
    except UNREADABLE as error:
        raise DownloadFailed(f"{source.key} cannot be read: {why_unreadable(error)}") from error
    return Fetched(location, revision, files)


def _fetch(source: Source, files: SourceFiles) -> tuple[str, str]:
    """Return location and revision."""
    if source.kind == "npm":
        return _npm(source, files)
    if source.kind == "pypi":
        return _pypi(source, files)
    if source.kind == "path" and not (Path(source.name) / ".git").exists():
        return source.name, _folder(Path(source.name), files)
    return source.clone_url, fetch_git(source.clone_url, source.ref or "HEAD", source.credentials, files)


def _npm(source: Source, files: SourceFiles) -> tuple[str, str]:
    """Fetch with `npm pack`: the user's registry, proxy and certificates, and no script of the package."""
    with TemporaryDirectory(dir=files.target.parent) as packed:
        pack = ["npm", "pack", "--json", "--ignore-scripts", "--pack-destination", packed, "--"]
        output = run_tool([*pack, source.key.removeprefix("npm:")], Path(packed), os.environ)
        try:
            description = json.loads(output[output.index("[") :])[0]
            spec = f"npm:{description['name']}@{description['version']}"
            revision = str(description.get("integrity") or description["shasum"])
            archive = next(Path(packed).glob("*.tgz"))
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
            raise DownloadFailed(f"npm returned no readable package ({printable(repr(error))})") from error
        unpack_npm(archive, files)
    return spec, revision


def _pypi(source: Source, files: SourceFiles) -> tuple[str, str]:
    """Fetch the wheel for all platforms with the user's own pip, its index, proxy and certificates.

    Unlike a source archive, a wheel is unpacked without running its code.
    """
    pip = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    anywhere = ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"]
    anywhere.append("--ignore-requires-python")  # the package is read, not run
    wanted = source.name + (f"=={source.ref}" if source.ref else "")
    with TemporaryDirectory(dir=files.target.parent) as packed:
        environment = {**os.environ, "TMPDIR": packed}  # pip's own temporary files count, too
        run_tool([*pip, *anywhere, "--dest", packed, "--", wanted], Path(packed), environment)
        wheel = next(Path(packed).glob("*.whl"), None)
        if wheel is None:
            raise DownloadFailed("pip returned no wheel")
        unpack_wheel(wheel, files)
        return f"pypi:{source.name}@{wheel.name.split('-')[1]}", f"sha256:{sha256_of(wheel)}"


def _folder(folder: Path, files: SourceFiles) -> str:
    """Copy a folder that is not a git repository, and return the hash of what is kept."""
    if not folder.is_dir():
        raise DownloadFailed("it is not a folder: check the path")
    digest = hashlib.sha256()
    for name in files_below(folder, lambda name, error: files.leave_out(name, why_unreadable(error))):
        path = folder / name
        try:
            size = path.lstat().st_size
        except OSError as error:  # removed meanwhile
            files.leave_out(name, why_unreadable(error))
            continue
        content = files.add(name, size, path.read_bytes)
        if content is not None:
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"sha256:{digest.hexdigest()}"
