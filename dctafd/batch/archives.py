"""Members of tar and zip archives, one after the other as bytes; nothing is ever written to disk.

Archives are hostile: a member's name is only ever text, its size is checked before and while it is read, and
damage is an `ArchiveError` that says where it is. `tarfile` itself ends silently at a damaged header.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dctafd.errors import ArchiveError, LimitExceededError, MissingExtraError
from dctafd.inputs.source_items import MAX_FILE_BYTES

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".zip")

_MAX_EXTENDED_HEADER = 2**20  # bytes of a long name or of pax records
_EXTENDED_HEADER_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file in an archive.

    Attributes:
        name: as stored; never used as a path.
        size: bytes, as the archive claims.
        read: returns the bytes; call it before the next member is asked for.
            Raises ArchiveError (damaged) or LimitExceededError (larger than `MAX_FILE_BYTES`).
    """

    name: str
    size: int
    read: Callable[[], bytes]


def is_archive(name: str) -> bool:
    """Return whether a file is named like an archive that `iter_members` opens."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def iter_members(path: str) -> Iterator[Member]:
    """Yield an archive's regular files in the order in which they are stored.

    Raises:
        ArchiveError: the archive is damaged; members before the damage have been yielded.
        MissingExtraError: a .tar.zst without zstandard installed.
        OSError: the archive cannot be opened or read.
    """
    members = _zip_members if path.lower().endswith(".zip") else _tar_members
    with _damage_named(Path(path).name):
        yield from members(path)


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    """Turn what the archive libraries raise on damaged data into an `ArchiveError`."""
    try:
        yield
    except _DAMAGE as error:
        raise ArchiveError(f"{what} is damaged: {error}") from error


def _checked_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise LimitExceededError(f"{size} bytes are more than the {MAX_FILE_BYTES} that are read of one file")


# tar --------------------------------------------------------------------------------------------------


class _StrictTarInfo(tarfile.TarInfo):
    """A header that is damaged, huge or missing is an error, not the end of the archive."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _StrictTarInfo:
        """Parse one 512-byte header block."""
        if not buf:
            raise ArchiveError("the archive ends without its end marker: members may be missing")
        end_marker = buf.count(b"\0") == tarfile.BLOCKSIZE
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if end_marker:
                raise
            raise ArchiveError(f"damaged member header: {error}") from error
        if header.type in _EXTENDED_HEADER_TYPES and header.size > _MAX_EXTENDED_HEADER:
            raise ArchiveError(f"a member's extended header claims {header.size} bytes")
        if header.size < 0:
            raise ArchiveError("a member's header claims a negative size")
        return header


def _tar_members(path: str) -> Iterator[Member]:
    with _uncompressed(path) as stream:
        # A plain file can be sought in; what is decompressed is read from front to back.
        mode = "r:" if path.lower().endswith(".tar") else "r|"
        with tarfile.open(fileobj=stream, mode=mode, tarinfo=_StrictTarInfo) as archive:  # type: ignore[call-overload]
            while (header := archive.next()) is not None:
                archive.members.clear()  # tarfile keeps every header it has seen
                if header.isreg():
                    yield Member(header.name, header.size, _tar_reader(archive, header))


def _tar_reader(archive: tarfile.TarFile, header: tarfile.TarInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        _checked_size(header.size)
        with _damage_named("the member"):
            file = archive.extractfile(header)
            assert file is not None  # a regular file
            return file.read()

    return read


@contextmanager
def _uncompressed(path: str) -> Iterator[IO[bytes]]:
    """Open a tar file and undo its compression."""
    lower = path.lower()
    with open(path, "rb") as file:
        if lower.endswith((".gz", ".tgz")):
            with gzip.open(file) as stream:
                yield stream  # type: ignore[misc]
        elif lower.endswith((".zst", ".tzst")):
            with _zstandard_stream(file) as stream:
                yield stream
        else:
            yield file


@contextmanager
def _zstandard_stream(file: IO[bytes]) -> Iterator[IO[bytes]]:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise MissingExtraError("zstandard", "zstd") from error
    try:
        with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream:
            yield stream
    except zstandard.ZstdError as error:
        raise ArchiveError(f"the zstandard stream is damaged: {error}") from error


# zip --------------------------------------------------------------------------------------------------


def _zip_members(path: str) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield Member(info.filename, info.file_size, _zip_reader(archive, info))


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        _checked_size(info.file_size)
        try:
            with _damage_named("the member"), archive.open(info) as file:
                data = file.read(info.file_size + 1)
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
            raise ArchiveError(f"the member cannot be read: {error}") from error
        if len(data) != info.file_size:
            raise ArchiveError(f"the member claims {info.file_size} bytes and holds {len(data)}")
        return data

    return read
