"""Unpack npm's archives and wheels through SourceFiles: no link, no owner, no mode, and nothing outside."""

import gzip
import tarfile
import zipfile
from pathlib import Path

from finetune.scrape.licences import LICENCE_FILE
from finetune.scrape.source_files import MAX_FILE_BYTES, SourceFiles, check_sums

_PIECE_BYTES = 1 << 20  # read at a time; tarfile reads a header's extension, of any size it claims, at once


class _Inflated(gzip.GzipFile):
    """A gzip file of which nothing larger than a piece is read at once."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _PIECE_BYTES:
            raise tarfile.ReadError("a header of the archive claims an impossible size")
        return super().read(size)


def unpack_npm(archive: Path, files: SourceFiles) -> None:
    """Keep the regular files below the archive's top folder."""
    count = 0
    with _Inflated(archive) as inflated, tarfile.open(fileobj=inflated, mode="r:") as tar:
        while (member := tar.next()) is not None:
            count += 1
            # Members that are left out count, too: they are inflated on the way to the next one.
            check_sums(count, inflated.tell() + max(member.size, 0))
            # Else tarfile keeps all headers in memory.
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
            tar.pax_headers = {}
            inside = member.name.partition("/")[2]
            if member.isreg() and inside:
                files.add(inside, member.size, lambda member=member: _content(tar, member))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.ReadError("not a regular file")
    return b"".join(iter(lambda: content.read(_PIECE_BYTES), b""))


def unpack_wheel(wheel: Path, files: SourceFiles) -> None:
    """Keep a wheel's files without its metadata, but with its licence texts.

    The licence texts go into the top folder, where `licence_of` looks for them.
    """
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        sizes = [member.file_size for member in members if member.file_size <= MAX_FILE_BYTES]
        check_sums(len(members), sum(sizes))
        for member in members:
            name = member.filename
            top, _, inside = name.partition("/")
            if top.endswith((".dist-info", ".data")):
                name = Path(inside).name
                if not LICENCE_FILE.fullmatch(name) or (files.target / name).exists():
                    continue
            files.add(name, member.file_size, lambda member=member: archive.read(member))
