"""Makes archives."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dctafd.batch.archives import iter_members
from dctafd.errors import ArchiveError

Members = list[tuple[str, bytes]]


def add_members(archive: tarfile.TarFile, members: Iterable[tuple[str, bytes]]) -> None:
    """Add names and bytes to a tar."""
    for name, data in members:
        header = tarfile.TarInfo(name)
        header.size = len(data)
        archive.addfile(header, io.BytesIO(data))


def tar_bytes(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        add_members(archive, members)
    return buffer.getvalue()


def packed(name: str, data: bytes) -> bytes:
    """Compress a tar's bytes as the suffix of its name says."""
    if name.endswith((".gz", ".tgz")):
        return gzip.compress(data, 1)
    if name.endswith((".zst", ".tzst")):
        import zstandard

        return zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return data


def write_packed(path: Path, tar: bytes) -> Path:
    """Write the bytes of a tar, compressed as the suffix of `path` says."""
    path.write_bytes(packed(path.name, tar))
    return path


def write_tar(path: Path, members: Members) -> Path:
    """Write a tar, compressed as the suffix of `path` says."""
    return write_packed(path, tar_bytes(members))


def write_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def members_of(path: Path) -> list[tuple[str, bytes]]:
    return [(member.name, member.read()) for member in iter_members(str(path))]


def add_file(archive: tarfile.TarFile, name: str, data: bytes, **fields: Any) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    for key, value in fields.items():
        setattr(header, key, value)
    archive.addfile(header, io.BytesIO(data))


def add_header(archive: tarfile.TarFile, name: str, kind: bytes, linkname: str = "") -> None:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, linkname
    archive.addfile(header)


def until_error(path: Path) -> tuple[list[str], str]:
    """Return the names that come before the archive's error, and the error."""
    names: list[str] = []
    with pytest.raises(ArchiveError) as caught:
        names.extend(member.name for member in iter_members(str(path)))
    return names, str(caught.value)
