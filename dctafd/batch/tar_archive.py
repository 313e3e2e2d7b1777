"""Members of tar archives, plain or compressed, read from front to back.

`tarfile` parses the headers. What it lets pass is refused here: it ends silently at a damaged header, at a
zero block in the middle and at a missing end marker, reads extended headers of any size, and goes back to
an earlier member where a size is negative.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, cast

from dctafd.batch.archive_links import Entry, LinkIndex
from dctafd.batch.archives import Member, check_size, damage_named, failing
from dctafd.batch.remote_files import RemoteStream
from dctafd.batch.shown_urls import file_name, is_url, shown
from dctafd.batch.stores import Described
from dctafd.errors import ArchiveError, DctafdError
from dctafd.extras import require_extra
from dctafd.inputs.source_items import Skipped

_MAX_EXTENDED_HEADER = 2**20  # bytes of a long name or of pax records
_MAX_HEADERS = 4 * 2**20  # bytes of all that comes before one member's data, maps of holes too
_MAX_REREAD = 32 * 2**30  # bytes of one compressed archive that are read again to follow its links
_PIECE = 2**20
_EXTENDED_HEADER_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def tar_members(
    path: str, skipped: Skipped, wanted: Callable[[str], bool], start: int, described: Described | None
) -> Iterator[Member]:
    """Yield the files of a tar; see `iter_members`."""
    with ExitStack() as stack:
        place = _Place(path, described)
        links = _TarLinks(place, stack)
        archive = _Tar(stack.enter_context(place.opened(start)))
        for header in archive.headers():
            if header.isdir():
                continue
            if not wanted(header.name):
                skipped.count(f"{shown(path)}: {header.name}")
            elif header.isreg():
                yield Member(header.name, archive.reader(header), archive.bookmark if place.plain else None)
            elif header.issym() or header.islnk():
                member = links.member(header)
                if member is None:
                    skipped.not_files += 1
                else:
                    yield replace(member, end=archive.bookmark if place.plain else None)
            else:
                skipped.not_files += 1


class _StrictTarInfo(tarfile.TarInfo):
    """A header that is damaged, huge or missing is an error, not the end of the archive.

    Each archive has a subclass of its own, which remembers the type of the last header.
    """

    last_type = b""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _StrictTarInfo:
        """Parse one 512-byte header block."""
        if not buf:
            raise ArchiveError("the archive ends without its end marker: members may be missing")
        if buf.count(b"\0") == tarfile.BLOCKSIZE:
            if cls.last_type in _EXTENDED_HEADER_TYPES and cls.last_type != tarfile.XGLTYPE:
                raise ArchiveError("it ends after an extended header, before the member")
            raise _EndMarker
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise ArchiveError(f"damaged member header: {error}") from error
        if header.type in _EXTENDED_HEADER_TYPES and header.size > _MAX_EXTENDED_HEADER:
            raise ArchiveError(f"a member's extended header claims {header.size} bytes")
        if header.size < 0:
            raise ArchiveError("a member's header claims a negative size")
        cls.last_type = header.type
        return header


class _EndMarker(Exception):  # noqa: N818 (no error: it takes the place of tarfile's, which looks like damage)
    """A block of zeros where a header could have been."""


class _Tar:
    """A tar from some member's header on."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._archive: tarfile.TarFile | None = None
        self._header_class = type("TarInfo", (_StrictTarInfo,), {})

    @property
    def bookmark(self) -> int | None:
        """Where the next header begins; None where what comes there depends on a header before it."""
        assert self._archive is not None
        return None if set(self._archive.pax_headers) - {"comment"} else self._archive.offset

    def headers(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members' headers; read a member's data before the next is asked for."""
        while (header := self._next()) is not None:
            yield header

    def _next(self) -> tarfile.TarInfo | None:
        before = self._stream.tell() if self._archive is None else self._archive.offset
        self._stream.header_bytes = _MAX_HEADERS
        try:
            if self._archive is None:
                self._archive = tarfile.TarFile(fileobj=self._stream, tarinfo=self._header_class)  # type: ignore[arg-type]
            header = self._archive.next()
        except _EndMarker:
            self._stream.header_bytes = None
            self._check_the_rest()
            return None
        finally:
            self._stream.header_bytes = None
        if header is None or header.size < 0 or self._archive.offset <= before:
            raise ArchiveError("a member's header leads back to an earlier one")
        self._archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has seen
        return header

    def _check_the_rest(self) -> None:
        """See that nothing but padding follows the end marker; this checks a compressed file's sums, too."""
        rest = 0
        while piece := self._stream.read(_PIECE):
            rest += len(piece)
            if piece.count(0) != len(piece):
                raise ArchiveError("there is more after its end marker: members may be missing")
        if self._archive is None and rest < tarfile.BLOCKSIZE:  # even an empty tar has two blocks
            raise ArchiveError("the archive ends within its end marker")

    def reader(self, header: tarfile.TarInfo) -> Callable[[], bytes]:
        """Return a function that reads one member's data."""

        def read() -> bytes:
            check_size(header.size)
            assert self._archive is not None
            with damage_named("the member"):
                file = self._archive.extractfile(header)
                assert file is not None  # a regular file
                return file.read()

        return read


class _TarLinks:
    """Follows links. The archive is read once more, for all names, where there is a first link.

    A link's data is read through a second stream, which in a compressed archive moves forward only and
    begins anew where a link leads back.
    """

    def __init__(self, place: _Place, stack: ExitStack) -> None:
        self._archive = place
        self._stack = stack
        self._index: LinkIndex[int] | None = None
        self._stream: _Stream | None = None
        self._budget = _MAX_REREAD

    def member(self, header: tarfile.TarInfo) -> Member | None:
        """Return the file that a link leads to under the link's name, None where it leads to none."""
        name = header.name
        try:
            if self._index is None:
                self._index = self._all_names()
            place = self._index.follow(name, _link(header))
        except DctafdError as error:
            return Member(name, failing(error))
        return None if place is None else Member(name, lambda: self._read(place))

    def _all_names(self) -> LinkIndex[int]:
        index: LinkIndex[int] = LinkIndex()
        try:
            with damage_named("the archive"), self._archive.opened() as stream:
                for header in _Tar(stream).headers():
                    if header.issym() or header.islnk():
                        index.add(header.name, _link(header))
                    else:
                        index.add(header.name, Entry(header.offset if header.isreg() else None))
        except DctafdError:  # the first reading will say it; what comes before the damage can be followed
            pass
        return index

    def _read(self, offset: int) -> bytes:
        with damage_named("the member"):
            if self._stream is None or not (self._stream.seekable or self._stream.tell() <= offset):
                self._stream = self._stack.enter_context(self._archive.opened())
            if self._budget < 0:
                raise ArchiveError("too much to read again for its links: unpack it, or do not compress it")
            before = self._stream.tell()
            self._stream.seek(offset)
            archive = _Tar(self._stream)
            data = archive.reader(next(archive.headers()))()
            if not self._stream.seekable:
                self._budget -= self._stream.tell() - before
            return data


def _link(header: tarfile.TarInfo) -> Entry[int]:
    return Entry(None, lambda: header.linkname, from_root=header.islnk())


# Streams ------------------------------------------------------------------------------------------------


class _Stream:
    """What `tarfile` reads from: it can skip forward in any stream, and headers are bounded.

    Attributes:
        header_bytes: how much more may be read, or None for any amount.
        seekable: whether it can go back, and skips without reading.
    """

    def __init__(self, raw: IO[bytes], seekable: bool, position: int = 0) -> None:
        self._raw = raw
        self.seekable = seekable
        self._position = position
        self.header_bytes: int | None = None

    def tell(self) -> int:
        """Return the position in the uncompressed archive."""
        return self._position

    def seek(self, offset: int) -> int:
        """Go to a position; beyond the end, nothing can be read."""
        if self.seekable:
            self._position = self._raw.seek(offset)
            return self._position
        if offset < self._position:
            raise ArchiveError("a member's header leads back to an earlier one")
        while self._position < offset:
            piece = self._raw.read(min(offset - self._position, _PIECE))
            self._position += len(piece)
            if not piece:
                self._position = offset
        return offset

    def read(self, size: int) -> bytes:
        """Read `size` bytes, less only at the end."""
        if self.header_bytes is not None:
            self.header_bytes -= size
            if self.header_bytes < 0:
                raise ArchiveError(f"more than {_MAX_HEADERS} bytes of headers before one member")
        pieces = [self._raw.read(size)]
        missing = size - len(pieces[0])
        while missing and pieces[-1]:
            pieces.append(self._raw.read(missing))
            missing -= len(pieces[-1])
        data = b"".join(pieces)
        self._position += len(data)
        return data


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tar is.

    Attributes:
        path: a path or a URL.
        described: what is known of a URL.
    """

    path: str
    described: Described | None

    @property
    def plain(self) -> bool:
        """Whether it is not compressed, so that reading can begin anywhere in it."""
        return file_name(self.path).lower().endswith(".tar")

    @contextmanager
    def opened(self, offset: int = 0) -> Iterator[_Stream]:
        """Open it and undo its compression; `offset` is where to begin in one that is plain."""
        lower = file_name(self.path).lower()
        with self._file(offset) as file:
            if lower.endswith((".gz", ".tgz")):
                with gzip.open(file) as stream:
                    yield _Stream(stream, seekable=False)  # type: ignore[arg-type]
            elif lower.endswith((".zst", ".tzst")):
                with _zstandard_stream(file) as stream:
                    yield _Stream(stream, seekable=False)
            else:
                yield _Stream(file, file.seekable(), offset)

    def _file(self, offset: int) -> IO[bytes]:
        if is_url(self.path):
            return cast(IO[bytes], RemoteStream(self.path, offset, self.described))
        file = open(self.path, "rb")  # noqa: SIM115 (the caller's context)
        if offset:
            file.seek(offset)
        return file


@contextmanager
def _zstandard_stream(file: IO[bytes]) -> Iterator[IO[bytes]]:
    require_extra("zstd")
    import zstandard

    with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream:
        yield stream
