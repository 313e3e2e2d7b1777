"""What photos lie in: folders, tar and zip archives (WebDataset shards among them), Parquet files.

A container is gone through twice: `listing` names its photos and what is said of them, without their pixels;
`contents` then gives the bytes of those that are wanted, in the same order and one at a time.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from dctafd.batch.archives import Member, check_size, failing, iter_members
from dctafd.batch.photo_table import PhotoTable, opened_table
from dctafd.batch.remote_files import read_whole
from dctafd.batch.shown_urls import file_name, shown
from dctafd.batch.stores import Described
from dctafd.errors import ArchiveError, DctafdError, LimitExceededError
from dctafd.inputs.file_names import sample_key
from dctafd.inputs.folders import walk_photos
from dctafd.inputs.pictures import is_picture_name
from dctafd.inputs.source_items import MAX_FILE_BYTES, readable

_PIECE = re.compile(r"-\d+-of-\d+$")  # of a split that is cut into files, as Hugging Face names them
_MAX_LABEL_BYTES = 2**16
_JSON_LABEL_KEYS = ("label", "cls", "class", "wnid", "class_name", "label_name")


@dataclass(frozen=True, slots=True)
class Listed:
    """A photo in a container.

    Attributes:
        key: its place: a number that grows in the order of `contents`, or a path.
        name: path below the container's root, with "/"; printable.
        said: the label beside it (a column's value, the text of a .cls file), None where there is none.
        size: bytes where that is known, else 0.
        changed: when it was written in ns, or a URL's ETag; else 0.
    """

    key: int | str
    name: str
    said: str | None = None
    size: int = 0
    changed: int | str = 0


class Container(Protocol):
    """A place that holds photos.

    Attributes:
        name: path as the user gave it.
        label_kind: what `Listed.said` is, for messages.
        label_names: the names that numbers in `Listed.said` stand for, where the container tells them; known
            after `listing`.
        any_order: whether `contents`' functions may be called at any time and by any thread; else each before
            the next is asked for.
    """

    name: str
    label_kind: str
    label_names: tuple[str, ...] | None
    any_order: bool

    def listing(self) -> Iterator[Listed | Exception]:
        """Yield the photos, and why a part could not be looked into."""

    def contents(self, keys: Collection[int | str]) -> Iterator[tuple[int | str, Callable[[], bytes]]]:
        """Yield (key, function that reads the bytes) of photos, in the order of `listing`.

        The function raises DctafdError or OSError where there is nothing to read.
        """


# Folders ----------------------------------------------------------------------------------------------


class Folder:
    """Photos in a folder and its sub-folders, in natural order.

    Args:
        root: the folder.
        prefix: what stands before the photos' names, with a "/" at its end.
    """

    label_kind = "folder names"
    label_names: tuple[str, ...] | None = None
    any_order = True

    def __init__(self, root: Path, prefix: str = "") -> None:
        self.root, self.name, self._prefix = root, readable(str(root)), prefix

    def listing(self) -> Iterator[Listed | Exception]:
        """Yield the photos; a folder that cannot be looked into gives its error."""
        for found in walk_photos(self.root, wanted=is_picture_name):
            if found.error is not None and not is_picture_name(found.path):
                yield found.error
                continue
            name = readable(os.path.relpath(found.path, self.root)).replace(os.sep, "/")
            size, changed = _size_and_time(found.path)
            yield Listed(found.path, self._prefix + name, None, size, changed)

    def contents(self, keys: Collection[int | str]) -> Iterator[tuple[int | str, Callable[[], bytes]]]:
        """Yield readers of files."""
        for key in keys:
            yield key, partial(read_file, str(key))


class RemoteFolder:
    """Photos in a folder of a store, in natural order.

    Args:
        url: the folder.
        photos: its photos, as the store lists them.
        prefix: what stands before the photos' names, with a "/" at its end.
    """

    label_kind = "folder names"
    label_names: tuple[str, ...] | None = None
    any_order = True

    def __init__(self, url: str, photos: Sequence[tuple[str, Described]], prefix: str = "") -> None:
        self.name, self._photos, self._prefix = readable(shown(url)), dict(photos), prefix
        self._root = url.split("*", 1)[0].rpartition("/")[0] if "*" in url else url.rstrip("/")

    def listing(self) -> Iterator[Listed | Exception]:
        """Yield the photos."""
        for url, described in self._photos.items():
            name = readable(shown(url.removeprefix(self._root))).lstrip("/")
            yield Listed(url, self._prefix + name, None, described.size or 0, described.version)

    def contents(self, keys: Collection[int | str]) -> Iterator[tuple[int | str, Callable[[], bytes]]]:
        """Yield readers of files."""
        for key in keys:
            yield key, partial(_read_remote, str(key), self._photos[str(key)])


def _read_remote(url: str, described: Described) -> bytes:
    data = read_whole(url, MAX_FILE_BYTES, described)
    check_size(len(data))
    return data


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return a regular file's bytes.

    Raises:
        LimitExceededError: more than `MAX_FILE_BYTES`.
        DctafdError: a FIFO, which would be waited for, or another thing that is no file.
        OSError: it cannot be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise DctafdError("it is no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise LimitExceededError(
            f"{status.st_size} bytes are more than the {MAX_FILE_BYTES} that are read of one file"
        )
    return Path(path).read_bytes()


# Archives ---------------------------------------------------------------------------------------------


class Archive:
    """Photos in a tar or zip archive; in a WebDataset shard with a .cls or .json beside each.

    Args:
        path: of the archive; a path or a URL.
        prefix: folder in front of its members' names, with a "/" at its end.
        described: what is known of a URL.
    """

    label_kind = ".cls or .json members"
    label_names: tuple[str, ...] | None = None
    any_order = False

    def __init__(self, path: str, prefix: str = "", described: Described | None = None) -> None:
        self._path, self._prefix, self.name = path, prefix, readable(shown(path))
        self._described = described

    def _members(self) -> Iterator[Member]:
        return iter_members(self._path, wanted=_is_part_of_sample, described=self._described)

    def listing(self) -> Iterator[Listed | Exception]:
        """Yield the photos with their labels, which may come before or after them; last, what is damaged."""
        photos: list[tuple[int, str]] = []
        labels: dict[str, str] = {}
        problem: Exception | None = None
        try:
            for number, member in enumerate(self._members()):
                name = readable(member.name).removeprefix("./")
                if is_picture_name(name):
                    photos.append((number, name))
                else:
                    try:
                        text = _label_in_member(name, member.read())
                    except DctafdError:
                        continue
                    if text is not None:
                        labels[sample_key(name)] = text
        except (DctafdError, OSError) as error:
            problem = error
        _, changed = _size_and_time(self._path, self._described)
        for number, name in photos:
            yield Listed(number, self._prefix + name, labels.get(sample_key(name)), 0, changed)
        if problem is not None:
            yield problem

    def contents(self, keys: Collection[int | str]) -> Iterator[tuple[int | str, Callable[[], bytes]]]:
        """Yield readers of members; others are passed over."""
        left = set(keys)
        try:
            for number, member in enumerate(self._members()):
                if number in left:
                    left.remove(number)
                    yield number, member.read
                if not left:
                    return
            problem: Exception = ArchiveError("the member is no longer there")
        except (DctafdError, OSError) as error:
            problem = error
        for key in keys:
            if key in left:
                yield key, failing(problem)


def _size_and_time(path: str, described: Described | None = None) -> tuple[int, int | str]:
    """Return bytes and time of change in ns (of a URL, its ETag), 0 where they cannot be known."""
    if described is not None:
        return described.size or 0, described.version
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _is_part_of_sample(name: str) -> bool:
    return is_picture_name(name) or name.lower().endswith((".cls", ".json"))


def _label_in_member(name: str, data: bytes) -> str | None:
    """Return the label that a .cls file or a .json file's record holds."""
    if len(data) > _MAX_LABEL_BYTES:
        return None
    text = data.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if name.lower().endswith(".cls"):
        return text or None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(record, int | str) and not isinstance(record, bool):
        return str(record)
    if not isinstance(record, dict):
        return None
    found = (record[key] for key in _JSON_LABEL_KEYS if isinstance(record.get(key), int | str))
    return next((str(value) for value in found if not isinstance(value, bool)), None)


# Parquet ----------------------------------------------------------------------------------------------


class ParquetTable:
    """Photos in a Parquet file's column: bytes, or Hugging Face's {bytes, path}; labels in another.

    Args:
        path: of the file; a path or a URL.
        prefix: folder in front of the photos' names, with a "/" at its end.
        described: what is known of a URL.
        column: that of the photos; None looks for it.
        label_column: that of the labels, which may be missing.
    """

    label_kind = "a Parquet column"
    any_order = False

    def __init__(
        self,
        path: str,
        prefix: str = "",
        described: Described | None = None,
        column: str | None = None,
        label_column: str = "label",
    ) -> None:
        self._path, self._prefix, self.name = path, prefix, readable(shown(path))
        self._described = described
        self._column, self._label_column = column, label_column
        self.label_names: tuple[str, ...] | None = None

    def listing(self) -> Iterator[Listed | Exception]:
        """Yield the rows with their labels; pixels stay on the disk."""
        try:
            with opened_table(self._path, self._column, self._described) as table:
                yield from self._listed(table)
        except (DctafdError, OSError) as error:
            yield error

    def _listed(self, table: PhotoTable) -> Iterator[Listed]:
        self.label_names = table.label_names(self._label_column)
        labels = [self._label_column] if self._label_column in table.schema.names else []
        _, changed = _size_and_time(self._path, self._described)
        stem = _PIECE.sub("", PurePosixPath(file_name(self._path)).stem)
        for row in table.rows(range(len(table.group_rows)), labels, photos=False):
            name = f"{stem}/{row.number}" if row.name is None else row.name.lstrip("/")
            said = row.values.get(self._label_column)
            yield Listed(row.number, self._prefix + name, None if said is None else str(said), 0, changed)

    def contents(self, keys: Collection[int | str]) -> Iterator[tuple[int | str, Callable[[], bytes]]]:
        """Yield readers of rows; row groups without a wanted one are not read."""
        left = {int(key) for key in keys}
        try:
            with opened_table(self._path, self._column, self._described) as table:
                first = 0
                for group, count in enumerate(table.group_rows):
                    if any(first <= row < first + count for row in left):
                        for row in table.rows([group], first=first):
                            if row.number in left:
                                left.remove(row.number)
                                yield row.number, row.read
                    first += count
            problem: Exception = ArchiveError("the row is no longer there")
        except (DctafdError, OSError) as error:
            problem = error
        for key in sorted(left):
            yield key, failing(problem)
