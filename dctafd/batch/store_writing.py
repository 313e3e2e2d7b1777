"""Files written behind URLs: whole or not at all, as far as the store allows.

Object stores (S3, Google Cloud Storage, Azure ...) show a file only when all of it has arrived. In others
(SFTP, SMB, HDFS ...) it is written under another name first and then renamed.
"""

from __future__ import annotations

import errno
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from dctafd.batch.shown_urls import file_name, shown
from dctafd.batch.store_failures import again
from dctafd.batch.stores import describe, file_system, path_of
from dctafd.files import TEXT_OPTIONS

_OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"))
_READ_ONLY = frozenset(("http", "https", "data", "github", "zip", "tar"))


@dataclass(frozen=True, slots=True, repr=False)
class OutputUrl:
    """A file behind a URL that will be written; as text it is shown without secrets.

    Attributes:
        url: where.
    """

    url: str

    @property
    def name(self) -> str:
        """The last part."""
        return file_name(self.url)

    @property
    def suffix(self) -> str:
        """What the name ends in, such as ".csv"."""
        return PurePosixPath(self.name).suffix

    def __str__(self) -> str:
        return shown(self.url)

    def __repr__(self) -> str:
        return f"OutputUrl({shown(self.url)!r})"


def check_output_url(url: str) -> None:
    """See whether a file can be written behind a URL: a small one is, and removed.

    Raises:
        OSError: it cannot; the message names the URL without secrets.
        MissingExtraError: what it takes is not installed.
    """
    if urlsplit(url).scheme.lower() in _READ_ONLY:
        raise OSError(errno.EROFS, "such URLs are read, not written", shown(url))
    if not file_name(url) or url.endswith("/"):
        raise OSError(errno.EISDIR, "it is a folder: name a file in it", shown(url))
    probe = f"{url}.{secrets.token_hex(4)}.probe"
    put_bytes(probe, b"")
    remove(probe)


def put_bytes(url: str, data: bytes) -> None:
    """Write a small file.

    Raises:
        OSError: it cannot be written.
    """
    _put(url, lambda system, path: system.pipe_file(path, data))


def put_file(url: str, source: str) -> None:
    """Write a file with the contents of one on this machine.

    Raises:
        OSError: it cannot be written.
    """
    _put(url, lambda system, path: system.put_file(source, path))


def _put(url: str, write: Callable[[Any, str], object]) -> None:
    system, path = file_system(url), path_of(url)
    if url.split("://", 1)[0].lower() in _OBJECT_STORES:
        again(url, lambda: write(system, path))
        return
    beside = f"{path}.{secrets.token_hex(4)}"
    try:
        again(url, lambda: write(system, beside))
        again(url, lambda: system.mv(beside, path))
    except BaseException:
        with suppress(Exception):
            system.rm_file(beside)
        raise


def copy(source: str, target: str) -> None:
    """Copy a file within a store, which does it by itself where it can.

    Raises:
        OSError: it cannot be copied.
    """
    again(target, lambda: file_system(source).cp_file(path_of(source), path_of(target)))


def remove(url: str, folder: bool = False) -> None:
    """Remove a file, or a folder with all that is in it; one that is not there, or must not be, stays."""
    with suppress(OSError):
        again(url, lambda: file_system(url).rm(path_of(url), recursive=folder))


def exists(url: str) -> bool:
    """Return whether there is a file behind a URL.

    Raises:
        OSError: the store does not say.
    """
    try:
        describe(url)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def uploaded(url: str, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a temporary file on this machine, which is put behind the URL at the end; an exception drops it.

    Raises:
        OSError: it cannot be written.
    """
    options: dict[str, Any] = {} if binary else TEXT_OPTIONS
    with tempfile.NamedTemporaryFile("wb" if binary else "w", **options) as file:
        yield file
        file.flush()
        put_file(url, file.name)
