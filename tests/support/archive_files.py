"""Makes archives."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

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


def write_tar(path: Path, members: Members) -> Path:
    """Write a tar, compressed as the suffix of `path` says."""
    data = tar_bytes(members)
    if path.name.endswith((".gz", ".tgz")):
        data = gzip.compress(data)
    elif path.name.endswith((".zst", ".tzst")):
        import zstandard

        data = zstandard.ZstdCompressor().compress(data)
    path.write_bytes(data)
    return path


def write_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path
