"""Stores of files behind URLs, through fsspec: what is there, and the libraries that know it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from dctafd.batch.shown_urls import shown
from dctafd.batch.store_failures import again, missing_extra

_CONNECT_SECONDS, _SILENT_SECONDS = 30, 60
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
    return again(url, lambda: _described(file_system(url).info(path_of(url))))


def find(url: str) -> Iterator[tuple[str, Described]]:
    """Yield the files below a folder, or those that a glob stands for, in no particular order.

    Raises: as `describe`.
    """
    system = file_system(url)
    search = system.glob if "*" in url or "[" in url else system.find
    path, place = path_of(url), url.rstrip("/")
    # What stands before the path: the scheme, and a host where the store has one ("sftp://host" + "/path").
    before = place.removesuffix(path) if place.endswith(path) else f"{url.split('://', 1)[0]}://"
    for name, info in again(url, lambda: search(path, detail=True)).items():
        yield name if "://" in name else f"{before}{name}", _described(info)


def _described(info: dict[str, Any]) -> Described:
    folder = info.get("type") == "directory"
    return Described(stat.S_IFDIR if folder else stat.S_IFREG, info.get("size"), version_of(info))


def version_of(info: Mapping[str, Any]) -> str:
    """Return what tells a file's content from another in a store's answer, "" where nothing does."""
    return next((str(info[field]) for field in _VERSION_FIELDS if info.get(field)), "")


def path_of(url: str) -> str:
    """Return what fsspec calls a URL: itself for HTTP, without the scheme elsewhere."""
    return url if urlsplit(url).scheme in ("http", "https") else file_system(url)._strip_protocol(url)


def file_system(url: str) -> Any:
    """Return fsspec's file system for a URL.

    Raises:
        OSError: there is none for this kind.
        MissingExtraError: it is not installed.
    """
    if "::" in url.split("://", 1)[0]:
        raise OSError(errno.EINVAL, "chained URLs are not read", shown(url))
    scheme = url.split("://", 1)[0].lower()
    try:
        return known_file_system("http" if scheme == "https" else scheme, os.getpid())
    except ImportError as error:
        raise missing_extra(error, scheme) from None
    except ValueError:
        raise OSError(
            errno.EPROTONOSUPPORT, f"URLs of the kind {scheme}:// are not known", shown(url)
        ) from None


@lru_cache
def known_file_system(scheme: str, process: int) -> Any:
    """Return fsspec's file system, made once in a process: it keeps connections, which no fork shares."""
    import fsspec

    options: dict[str, Any] = {}
    if scheme == "http":
        import aiohttp

        # aiohttp's own limit is five minutes for a whole file, however large.
        limits = aiohttp.ClientTimeout(None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
        options["client_kwargs"] = {"timeout": limits, "trust_env": True}
    return fsspec.filesystem(scheme, use_listings_cache=False, **options)
