"""The bytes of files behind URLs, whatever the network does meanwhile.

A connection that breaks is taken up at the byte that was reached; a file that has changed meanwhile is an
error.
"""

from __future__ import annotations

import errno
import tempfile
from contextlib import suppress
from typing import IO, cast
from urllib.parse import urlsplit

from dctafd.batch.shown_urls import shown
from dctafd.batch.store_failures import again
from dctafd.batch.stores import Described, describe, file_system, path_of, version_of

_BLOCK = 4 * 2**20  # bytes of one request where a file is read by ranges


def read_whole(url: str, limit: int, described: Described | None = None) -> bytes:
    """Return a file's bytes, at most one more than `limit`.

    Raises: as `describe`.
    """
    with RemoteStream(url, 0, described) as stream:
        pieces = []
        while limit >= 0 and (piece := stream.read(min(_BLOCK, limit + 1))):
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces)


class RemoteStream:
    """A file read from front to back, beginning anywhere; it goes on where a connection breaks.

    Args:
        url: the file.
        offset: the first byte to read. Where a server cannot begin there, what comes before is read, too.
        described: what is known of it, which it still has to be.
        end: the byte to end before, None for the file's end.

    Attributes:
        without_ranges: whether the server turned out to be one that cannot begin in the middle.
    """

    def __init__(
        self, url: str, offset: int = 0, described: Described | None = None, end: int | None = None
    ) -> None:
        self._url = url
        self._position = offset
        self._described = described or describe(url)
        self._end = self._described.size if end is None else end
        self._file: IO[bytes] | None = None
        self.without_ranges = False

    def __enter__(self) -> RemoteStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._file is not None:
            with suppress(Exception):
                self._file.close()
            self._file = None

    def tell(self) -> int:
        """Return the position in the file."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes; b"" at the end only.

        Raises:
            OSError: it cannot be read to its end.
        """
        wanted = _BLOCK if size < 0 else min(size, _BLOCK)
        if self._end is not None:
            wanted = min(wanted, self._end - self._position)
        if wanted <= 0:
            return b""
        data = again(self._url, lambda: self._attempt(wanted), self.close)
        self._position += len(data)
        return data

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return False."""
        return False

    def _attempt(self, wanted: int) -> bytes:
        if self._file is None:
            self._file = self._opened()
        data = self._file.read(wanted)
        if not data and self._end is not None:
            raise ConnectionError("the connection ended early")
        return data

    def _opened(self) -> IO[bytes]:
        if urlsplit(self._url).scheme not in ("http", "https"):
            return self._opened_in_a_store()
        headers = {"Accept-Encoding": "identity"}
        if self._position or self._end != self._described.size:
            last = "" if self._end is None else self._end - 1
            headers["Range"] = f"bytes={self._position}-{last}"
        file = file_system(self._url).open(self._url, block_size=0, size=1, headers=headers)
        try:
            self._check_version(version_of(file.r.headers))
            if self._position and file.r.status != 206:
                self.without_ranges = True
                _skip(file, self._position)
        except BaseException:
            file.close()
            raise
        return cast(IO[bytes], file)

    def _opened_in_a_store(self) -> IO[bytes]:
        file = file_system(self._url).open(path_of(self._url), block_size=_BLOCK, cache_type="readahead")
        self._check_version(version_of(getattr(file, "details", None) or {}))
        file.seek(self._position)
        return file

    def _check_version(self, version: str) -> None:
        if version and self._described.version and version != self._described.version:
            raise OSError(errno.ESTALE, "it has changed while it was read", shown(self._url))


class RemoteFile:
    """A file read by ranges, anywhere in it: what zip and Parquet need.

    Where a server cannot begin in the middle, the whole is fetched once into a temporary file without a name.

    Raises:
        OSError: the server does not tell the size.
    """

    def __init__(self, url: str, described: Described | None = None) -> None:
        self._url = url
        self._described = described or describe(url)
        if self._described.size is None:
            raise OSError(errno.ESPIPE, "the server does not say how large it is", shown(url))
        self._size = self._described.size
        self._position = 0
        self._start, self._block = 0, b""
        self._copy: IO[bytes] | None = None

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    closed = False

    def close(self) -> None:
        """Let go of what was read."""
        self._block = b""
        if self._copy is not None:
            self._copy.close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position."""
        position = (0, self._position, self._size)[whence] + offset
        if position < 0:
            raise OSError(errno.EINVAL, "before the beginning", shown(self._url))
        self._position = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, less only at the end.

        Raises:
            OSError: they cannot be read.
        """
        end = self._size if size is None or size < 0 else min(self._position + size, self._size)
        pieces = []
        while self._position < end:
            piece = self._held(end)
            self._position += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _held(self, end: int) -> bytes:
        """Return what there is of the bytes up to `end` in the block that was read last, or in a new one."""
        offset = self._position - self._start
        if not 0 <= offset < len(self._block):
            stop = min(max(end, self._position + _BLOCK), self._position + 16 * _BLOCK, self._size)
            self._start, offset = self._position, 0
            self._block = self._range(stop)
        return self._block[offset : end - self._start]

    def _range(self, stop: int) -> bytes:
        if self._copy is not None:
            self._copy.seek(self._position)
            return self._copy.read(stop - self._position)
        pieces = []
        with RemoteStream(self._url, self._position, self._described, stop) as stream:
            while piece := stream.read():
                pieces.append(piece)
        if stream.without_ranges:
            self._copy = self._fetched()
        return b"".join(pieces)

    def _fetched(self) -> IO[bytes]:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        with RemoteStream(self._url, 0, self._described) as stream:
            while piece := stream.read():
                copy.write(piece)
        return copy


def _skip(file: IO[bytes], size: int) -> None:
    while size:
        piece = file.read(min(size, _BLOCK))
        if not piece:
            raise ConnectionError("the connection ended early")
        size -= len(piece)
