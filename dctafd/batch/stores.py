"""Files behind URLs, through fsspec: what they are, and their bytes, whatever the network does meanwhile.

What passes (a broken connection, a busy server) is tried again with growing pauses, from the byte that was
reached. What does not (not there, no access, changed meanwhile) is an OSError of the usual kind. Messages are
made here, not by the libraries, whose messages hold whole URLs.
"""

from __future__ import annotations

import errno
import random
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from dctafd.batch.shown_urls import scrubbed, shown
from dctafd.errors import MissingExtraError

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt, each up to half as long again."""
_BLOCK = 4 * 2**20  # bytes of one request where a file is read by ranges
_CONNECT_SECONDS, _SILENT_SECONDS = 30, 60
_PASSING_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504, 509))
_PASSING_CODES = frozenset(
    ("SlowDown", "Throttling", "RequestTimeout", "InternalError", "ServiceUnavailable")
)
_VERSION_FIELDS = (
    "ETag",
    "etag",
    "Content-MD5",
    "md5Hash",
    "LastModified",
    "Last-Modified",
    "mtime",
    "created",
)

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Described:
    """What a store says of a URL.

    Attributes:
        kind: `stat.S_IFREG` or `stat.S_IFDIR`.
        size: bytes, None where the store does not tell.
        version: its ETag, or else its checksum or time of modification; "" where there is none.
    """

    kind: int
    size: int | None
    version: str


def local_path(url: str) -> str | None:
    """Return the path that a file:// URL stands for, None for any other URL."""
    return unquote(urlsplit(url).path) if url.lower().startswith("file://") else None


def describe(url: str) -> Described:
    """Ask what there is at a URL.

    Raises:
        OSError: nothing, or nothing that may be read.
        MissingExtraError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    return _again(url, lambda: _described(_file_system(url).info(_path(url))))


def find(url: str) -> Iterator[tuple[str, Described]]:
    """Yield the files below a folder, or those that a glob stands for, in no particular order.

    Raises: as `describe`.
    """
    system = _file_system(url)
    search = system.glob if "*" in url or "[" in url else system.find
    scheme = url.split("://", 1)[0]
    for name, info in _again(url, lambda: search(_path(url), detail=True)).items():
        yield name if "://" in name else f"{scheme}://{name}", _described(info)


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
        data = _again(self._url, lambda: self._attempt(wanted), self.close)
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
        file = _file_system(self._url).open(self._url, block_size=0, size=1, headers=headers)
        try:
            self._check_version(_version(file.r.headers))
            if self._position and file.r.status != 206:
                self.without_ranges = True
                _skip(file, self._position)
        except BaseException:
            file.close()
            raise
        return cast(IO[bytes], file)

    def _opened_in_a_store(self) -> IO[bytes]:
        file = _file_system(self._url).open(_path(self._url), block_size=_BLOCK, cache_type="readahead")
        self._check_version(_version(getattr(file, "details", None) or {}))
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


def _described(info: dict[str, Any]) -> Described:
    folder = info.get("type") == "directory"
    return Described(stat.S_IFDIR if folder else stat.S_IFREG, info.get("size"), _version(info))


def _version(info: Mapping[str, Any]) -> str:
    return next((str(info[field]) for field in _VERSION_FIELDS if info.get(field)), "")


# fsspec -------------------------------------------------------------------------------------------------


def _path(url: str) -> str:
    """Return what fsspec calls a URL: itself for HTTP, without the scheme elsewhere."""
    return url if urlsplit(url).scheme in ("http", "https") else _file_system(url)._strip_protocol(url)


def _file_system(url: str) -> Any:
    if "::" in url.split("://", 1)[0]:
        raise OSError(errno.EINVAL, "chained URLs are not read", shown(url))
    scheme = url.split("://", 1)[0].lower()
    try:
        return _known_file_system("http" if scheme == "https" else scheme)
    except ImportError as error:
        raise _missing(error, scheme) from None
    except ValueError:
        raise OSError(
            errno.EPROTONOSUPPORT, f"URLs of the kind {scheme}:// are not known", shown(url)
        ) from None


@lru_cache
def _known_file_system(scheme: str) -> Any:
    """Return fsspec's file system, made once in a process: it keeps connections."""
    import fsspec

    options: dict[str, Any] = {}
    if scheme == "http":
        import aiohttp

        # aiohttp's own limit is five minutes for a whole file, however large.
        limits = aiohttp.ClientTimeout(None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
        options["client_kwargs"] = {"timeout": limits, "trust_env": True}
    return fsspec.filesystem(scheme, use_listings_cache=False, **options)


def _missing(error: ImportError, otherwise: str) -> MissingExtraError:
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    return MissingExtraError(cause.name or otherwise, "remote")


# What goes wrong ----------------------------------------------------------------------------------------


def _again(url: str, attempt: Callable[[], _Value], clean_up: Callable[[], None] = lambda: None) -> _Value:
    """Return what `attempt` returns, trying again after failures that may pass."""
    for pause in (*PAUSES, None):
        try:
            return attempt()
        except MissingExtraError:
            raise
        except ImportError as error:
            raise _missing(error, "fsspec") from None
        except Exception as error:
            clean_up()
            told = _told(error, url)
            if pause is None or not isinstance(told, ConnectionError):
                raise told from None
        time.sleep(pause * random.uniform(1, 1.5))
    raise AssertionError("the last attempt returns or raises")


def _told(error: Exception, url: str) -> OSError:
    """Return an error that says what is wrong with a URL; a ConnectionError where it may pass."""
    place = shown(url)
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 10:
        chain.append(cause)
    for link in chain:
        status, code = _status(link)
        if status in (401, 403) or isinstance(link, PermissionError) or "Credential" in type(link).__name__:
            return PermissionError(errno.EACCES, "no access, or no credentials for it", place)
        if status in _PASSING_STATUS or code in _PASSING_CODES:
            return ConnectionError(errno.ECONNABORTED, f"the server is busy ({status or code})", place)
        if status in (404, 410):
            return FileNotFoundError(errno.ENOENT, "there is no such file", place)
        if status == 412 or code == "PreconditionFailed":
            return OSError(errno.ESTALE, "it has changed while it was read", place)
        if status is not None and status >= 400:
            return OSError(errno.EIO, f"the server answered {status}", place)
    if any(isinstance(link, OSError) and link.errno == errno.ESTALE for link in chain):
        return OSError(errno.ESTALE, "it has changed while it was read", place)
    if any(_may_pass(link) for link in chain):
        return ConnectionError(
            errno.ECONNABORTED, f"the connection failed ({type(chain[-1]).__name__})", place
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such file", place)
    if isinstance(error, OSError) and error.filename == place:
        return error
    return OSError(errno.EIO, f"{type(error).__name__}: {scrubbed(str(error))[:200]}", place)


def _status(error: BaseException) -> tuple[int | None, str | None]:
    """Return the HTTP status and the store's own word in an error of aiohttp or botocore."""
    status = getattr(error, "status", None)
    response = getattr(error, "response", None)
    code = None
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", status)
        code = response.get("Error", {}).get("Code")
    return (status if isinstance(status, int) and status >= 400 else None), code


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    library = type(error).__module__.split(".")[0]
    name = type(error).__name__
    if library in ("aiohttp", "fsspec"):
        return name != "InvalidURL" and ("Client" in name or "Server" in name or "Timeout" in name)
    return library == "botocore" and ("Connection" in name or "Timeout" in name or "IncompleteRead" in name)
