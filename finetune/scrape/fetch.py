"""Scrape, step 2: fetch one source into a folder, and pin it by a commit or a hash."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from acepilot.disk import is_full_disk, says_full_disk
from acepilot.errors import DownloadFailed
from acepilot.models.manifest import sha256_of
from finetune.scrape.licences import LICENCE_FILE
from finetune.scrape.sources import Source

MAX_FILE_BYTES = 5_000_000
"""Larger files are left out. No source file that a person wrote is near this size."""
_TIMEOUT_S = 1_200  # for one git, npm or pip command; a large repository takes some minutes


@dataclass(frozen=True)
class Fetched:
    """`location` and `revision` identify what was fetched; `dropped` counts the files that were too large."""

    location: str
    revision: str
    dropped: int


def fetch(source: Source, target: Path) -> Fetched:
    """Fill the empty folder `target`. Raises DownloadFailed, or OSError for a full disk."""
    try:
        if source.kind == "npm":
            return _npm(source, target)
        if source.kind == "pypi":
            return _pypi(source, target)
        if source.kind == "path" and not (Path(source.name) / ".git").exists():
            return _folder(Path(source.name), target)
        return _git(source, target)
    except OSError as error:
        if is_full_disk(error):
            raise  # collect_sources reports which disk, and stops
        raise DownloadFailed(f"{source.key}: {error}") from error


def _git(source: Source, target: Path) -> Fetched:
    url = f"file://{source.name}" if source.kind == "path" else source.clone_url
    _run(["git", "init", "--quiet", str(target)], source)
    git = ["git", "-C", str(target), "-c", "core.autocrlf=false", "-c", "core.symlinks=false"]
    _run([*git, "fetch", "--quiet", "--depth=1", "--no-tags", url, source.ref or "HEAD"], source)
    _run([*git, "checkout", "--quiet", "--detach", "FETCH_HEAD"], source)
    revision = _run([*git, "rev-parse", "HEAD"], source).strip()
    shutil.rmtree(target / ".git")
    location = source.clone_url if source.kind == "github" else source.plain_name
    return Fetched(location, revision, _drop_large(target))


def _npm(source: Source, target: Path) -> Fetched:
    """Fetch with `npm pack`: the user's registry, proxy and certificates, and no script of the package."""
    pack = ["npm", "pack", "--json", "--ignore-scripts"]
    with TemporaryDirectory(dir=target.parent) as packed:
        try:
            output = _run([*pack, "--pack-destination", packed, source.key[4:]], source)
            description = json.loads(output[output.index("[") :])[0]
            dropped = _unpack(next(Path(packed).glob("*.tgz")), target)
        except (ValueError, KeyError, IndexError, StopIteration, tarfile.TarError) as error:
            raise DownloadFailed(f"{source.key}: npm returned no readable package ({error!r})") from error
    spec = f"npm:{description['name']}@{description['version']}"
    return Fetched(spec, description.get("integrity") or description["shasum"], dropped)


def _unpack(archive: Path, target: Path) -> int:
    """Unpack the regular files below the archive's top folder; return how many were too large."""
    dropped = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            member.name = member.name.partition("/")[2]
            if not member.isfile() or not member.name:
                continue
            if member.size > MAX_FILE_BYTES:
                dropped += 1
            else:
                tar.extract(member, target, filter="data")  # raises for a path outside `target`
    return dropped


def _pypi(source: Source, target: Path) -> Fetched:
    """Fetch the wheel for all platforms with the user's own pip, its index, proxy and certificates.

    Unlike a source archive, a wheel is unpacked without running its code.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    anywhere = ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"]
    anywhere.append("--ignore-requires-python")  # the package is read, not run
    wanted = source.name + (f"=={source.ref}" if source.ref else "")
    with TemporaryDirectory(dir=target.parent) as packed:
        _run([*pip, *anywhere, "--dest", packed, wanted], source)
        try:
            wheel = next(Path(packed).glob("*.whl"))
            dropped = _unzip(wheel, target)
        except (StopIteration, zipfile.BadZipFile) as error:
            raise DownloadFailed(f"{source.key}: pip returned no readable wheel ({error!r})") from error
        revision, version = f"sha256:{sha256_of(wheel)}", wheel.name.split("-")[1]
    return Fetched(f"pypi:{source.name}@{version}", revision, dropped)


def _unzip(wheel: Path, target: Path) -> int:
    """Unpack a wheel without its metadata, but with its licence texts; return how many files were too large.

    The licence texts go into the top folder, where `licence_of` looks for them.
    """
    dropped = 0
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            top, _, inside = member.filename.partition("/")
            if member.is_dir():
                continue
            if member.file_size > MAX_FILE_BYTES:
                dropped += 1
            elif top.endswith((".dist-info", ".data")):
                name = Path(inside).name
                if LICENCE_FILE.fullmatch(name) and not (target / name).exists():
                    (target / name).write_bytes(archive.read(member))
            else:
                archive.extract(member, target)  # removes `..` and absolute paths from names
    return dropped


def _folder(folder: Path, target: Path) -> Fetched:
    if not folder.is_dir():
        raise DownloadFailed(f"path:{folder} is not a folder: check the path.")
    digest = hashlib.sha256()
    dropped = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            dropped += 1
            continue
        inside = path.relative_to(folder)
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        (target / inside).write_bytes(content)
        digest.update(f"{inside.as_posix()}\0{len(content)}\0".encode() + content)
    return Fetched(str(folder), f"sha256:{digest.hexdigest()}", dropped)


def _drop_large(folder: Path) -> int:
    dropped = 0
    for path in folder.rglob("*"):
        if not path.is_symlink() and path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
            path.unlink()
            dropped += 1
    return dropped


def _run(command: list[str], source: Source) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment)
    except FileNotFoundError as error:
        raise DownloadFailed(
            f"{source.key} needs `{command[0]}`, which is not installed: install it."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DownloadFailed(
            f"{source.key}: `{command[0]}` took more than {_TIMEOUT_S // 60} minutes. Check the network."
        ) from error
    if done.returncode != 0:
        if says_full_disk(done.stderr):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        lines = [line for line in done.stderr.strip().splitlines() if "npm warn" not in line.lower()]
        raise DownloadFailed(f"{source.key}: {command[0]} says: {' / '.join(lines[-3:])[:400] or 'nothing'}")
    return done.stdout
