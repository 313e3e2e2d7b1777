"""From a path or URL that a user names to the containers of photos that are there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dctafd.analysis.photo_containers import (
    Archive,
    Container,
    Folder,
    Listed,
    ParquetTable,
    RemoteFolder,
)
from dctafd.batch.shown_urls import file_name, is_url, shown
from dctafd.batch.stores import Described, describe, find, local_path
from dctafd.errors import DctafdError
from dctafd.inputs.file_names import expand_braces, has_braces, is_archive, is_table, natural_key
from dctafd.inputs.folders import walk_photos
from dctafd.inputs.pictures import is_picture_name
from dctafd.inputs.source_items import readable

#: A path, or a URL as it was given.
Place = Path | str


def place_of(source: str | Path) -> Place:
    """Return a URL as it is, anything else (file:// URLs, too) as a path."""
    if isinstance(source, str) and is_url(source) and not os.path.lexists(source):
        path = local_path(source)
        return source if path is None else Path(path)
    return Path(source)


def place_name(place: Place) -> str:
    """Return the last part of a place's name, printable."""
    if isinstance(place, Path):
        return readable(place.resolve().name)
    return readable(file_name(place.rstrip("/")))


def containers_of(images: Place, prefix: str = "") -> list[Container]:
    """Return the container at a place; of a folder without photos, the archives and tables in it.

    Args:
        images: the path or URL; a URL may have braces and, where the store lists, a glob.
        prefix: folder in front of the names of a folder's photos, with a "/" at its end.

    Raises:
        DctafdError: the file is neither archive nor table, or a folder holds nothing of all these.
        OSError: there is no such path, or it cannot be looked at.
    """
    if isinstance(images, str):
        names = list(expand_braces(images)) if has_braces(images) else [images]
        return [container for name in names for container in _behind_url(name, prefix)]
    if images.is_dir():
        folder = Folder(images, prefix)
        if any(isinstance(entry, Listed) for entry in folder.listing()):
            return [folder]
        inner = [found.path for found in walk_photos(images, wanted=_is_bundle) if found.error is None]
        if not inner:
            raise _nothing(str(images))
        return [_bundle(path, os.path.relpath(os.path.dirname(path), images)) for path in inner]
    if not images.exists():
        raise FileNotFoundError(f"{images} does not exist")
    if not _is_bundle(str(images)):
        raise DctafdError(f"{images} is no folder, archive or Parquet file")
    return [_bundle(str(images), ".")]


def _behind_url(url: str, prefix: str) -> list[Container]:
    if "*" not in url:
        described = describe(url)
        if described.kind != stat.S_IFDIR:
            if not _is_bundle(url):
                raise DctafdError(f"{shown(url)} is no folder, archive or Parquet file")
            return [_bundle(url, ".", described)]
    found = sorted(find(url), key=lambda entry: natural_key(entry[0]))
    files = [(name, described) for name, described in found if described.kind != stat.S_IFDIR]
    photos = [(name, described) for name, described in files if is_picture_name(name)]
    if photos:
        return [RemoteFolder(url, photos, prefix)]
    root = url.split("*", 1)[0].rpartition("/")[0] if "*" in url else url.rstrip("/")
    inner = [(name, described) for name, described in files if _is_bundle(name)]
    if not inner:
        raise _nothing(shown(url))
    return [
        _bundle(name, name.rpartition("/")[0].removeprefix(root).strip("/") or ".", described)
        for name, described in inner
    ]


def _nothing(where: str) -> DctafdError:
    return DctafdError(f"there are no photos, archives or Parquet files in {where}")


def _is_bundle(path: str) -> bool:
    return is_archive(file_name(path)) or is_table(file_name(path))


def _bundle(path: str, folder: str, described: Described | None = None) -> Container:
    prefix = "" if folder == "." else readable(folder).replace(os.sep, "/") + "/"
    kind = ParquetTable if is_table(file_name(path)) else Archive
    return kind(path, prefix, described)
