"""One input of a run, whatever it comes from, and what a run passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any

from dctafd.errors import LimitExceededError
from dctafd.inputs.file_names import is_archive, is_sidecar, is_table
from dctafd.jpeg.foreign import open_file

#: No file, and no member of an archive, larger than this is read.
MAX_FILE_BYTES = 256 * 2**20

_MAX_NAMED_ARCHIVES = 100


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where the reading of an archive can go on after an input, without what comes before.

    Attributes:
        offset: the first byte to read.
        skipped: what had been passed over up to there.
    """

    offset: int
    skipped: Skipped


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One input: a file, a member of an archive, stdin, or what is wrong with one of them.

    Attributes:
        source: the path of the file or archive, "-" for stdin; printable as UTF-8.
        member: the name inside the archive, or None.
        path: the file to read the bytes from, None where they are here already.
        data: the bytes of a member or of stdin, or None.
        error: why there is nothing to read, or None.
        bookmark: where to go on after it, None where that cannot be told.
        kept: what is carried over to its record: plain values by name; None where nothing is.
    """

    source: str
    member: str | None = None
    path: str | None = None
    data: bytes | None = None
    error: Exception | None = None
    bookmark: Bookmark | None = None
    kept: Mapping[str, Any] | None = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            LimitExceededError: more than `MAX_FILE_BYTES`.
            ArchiveError: the archive or the member is damaged.
            OSError: the file cannot be read.
        """
        if self.error is not None:
            raise self.error
        if self.data is not None:
            return self.data
        assert self.path is not None
        with open_file(self.path) as file:
            return read_bounded(file)

    def origin(self) -> SourceItem:
        """Return where the input came from, without its bytes."""
        return replace(self, path=None, data=None, error=None)


@dataclass(slots=True)
class Skipped:
    """What was passed over.

    Attributes:
        files: files and members that are named neither like a JPEG nor like what follows.
        archives: names of archives and tables inside archives or directories, which are not opened (the first
            100).
        archive_count: how many of them there are.
        not_files: links to directories, which could lead in circles; pipes, devices and sockets.
        sidecars: files and members named .json, .cls or .txt, as WebDataset has them beside photos.
    """

    files: int = 0
    archives: list[str] = field(default_factory=list)
    archive_count: int = 0
    not_files: int = 0
    sidecars: int = 0

    def count(self, name: str) -> None:
        """Count one file or member that is not named like a JPEG."""
        if is_sidecar(name):
            self.sidecars += 1
            return
        if not (is_archive(name) or is_table(name)):
            self.files += 1
            return
        self.archive_count += 1
        if len(self.archives) < _MAX_NAMED_ARCHIVES:
            self.archives.append(readable(name))

    def copy(self) -> Skipped:
        """Return the counts as they are now."""
        return Skipped(self.files, list(self.archives), self.archive_count, self.not_files, self.sidecars)

    def add(self, other: Skipped) -> None:
        """Add what another part of the run passed over."""
        self.files += other.files
        self.archive_count += other.archive_count
        self.archives.extend(other.archives[: _MAX_NAMED_ARCHIVES - len(self.archives)])
        self.not_files += other.not_files
        self.sidecars += other.sidecars


def readable(name: str) -> str:
    """Return a file name as text that every format can hold: what is no UTF-8 becomes an escape."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_bounded(file: IO[bytes]) -> bytes:
    """Read a file or pipe to its end, and hardly a byte more than `MAX_FILE_BYTES`."""
    pieces = []
    total = 0
    while piece := file.read(2**20):
        pieces.append(piece)
        total += len(piece)
        if total > MAX_FILE_BYTES:
            raise LimitExceededError(f"more than the {MAX_FILE_BYTES} bytes that are read of one file")
    return b"".join(pieces)
