"""Where photos lie: folders, tar and zip archives (WebDataset shards among them), Parquet files.

A container is gone through twice: `listing` names its photos and what is said of them, without their pixels;
`contents` then gives the bytes of those that are wanted, in the same order and one at a time.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from dctafd.batch.archives import damage_named, failing, iter_members
from dctafd.errors import ArchiveError, DctafdError, LimitExceededError
from dctafd.extras import require_extra
from dctafd.inputs.file_names import is_archive
from dctafd.inputs.folders import walk_photos
from dctafd.inputs.pictures import is_picture_name
from dctafd.inputs.source_items import MAX_FILE_BYTES, readable

_PIECE = re.compile(r"-\d+-of-\d+$")  # of a split that is cut into files, as Hugging Face names them
_MAX_LABEL_BYTES = 2**16
_JSON_LABEL_KEYS = ("label", "cls", "class", "wnid", "class_name", "label_name")
_MAX_ROW_GROUP_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Listed:
    """A photo in a container.

    Attributes:
        key: its place: a number that grows in the order of `contents`, or a path.
        name: path below the container's root, with "/"; printable.
        said: the label beside it (a column's value, the text of a .cls file), None where there is none.
        size: bytes where that is known, else 0.
        changed: when it was written, ns, else 0.
    """

    key: int | str
    name: str
    said: str | None = None
    size: int = 0
    changed: int = 0


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


def containers_of(images: Path, prefix: str = "") -> list[Container]:
    """Return the container that a path names; of a folder without photos, the archives and tables in it.

    Args:
        images: the path.
        prefix: folder in front of the names of a folder's photos, with a "/" at its end.

    Raises:
        DctafdError: the file is neither archive nor table, or a folder holds nothing of all these.
        FileNotFoundError: there is no such path.
    """
    if images.is_dir():
        folder = Folder(images, prefix)
        if any(isinstance(entry, Listed) for entry in folder.listing()):
            return [folder]
        inner = [found.path for found in walk_photos(images, wanted=_is_bundle) if found.error is None]
        if not inner:
            raise DctafdError(f"there are no photos, archives or Parquet files in {images}")
        return [_bundle(path, os.path.relpath(os.path.dirname(path), images)) for path in inner]
    if not images.exists():
        raise FileNotFoundError(f"{images} does not exist")
    if not _is_bundle(str(images)):
        raise DctafdError(f"{images} is no folder, archive or Parquet file")
    return [_bundle(str(images), ".")]


def _is_bundle(path: str) -> bool:
    return is_archive(path) or path.lower().endswith(".parquet")


def _bundle(path: str, folder: str) -> Container:
    prefix = "" if folder == "." else readable(folder).replace(os.sep, "/") + "/"
    return ParquetTable(path, prefix) if path.lower().endswith(".parquet") else Archive(path, prefix)


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
        path: of the archive.
        prefix: folder in front of its members' names, with a "/" at its end.
    """

    label_kind = ".cls or .json members"
    label_names: tuple[str, ...] | None = None
    any_order = False

    def __init__(self, path: str, prefix: str = "") -> None:
        self._path, self._prefix, self.name = path, prefix, readable(path)

    def listing(self) -> Iterator[Listed | Exception]:
        """Yield the photos with their labels, which may come before or after them; last, what is damaged."""
        photos: list[tuple[int, str]] = []
        labels: dict[str, str] = {}
        problem: Exception | None = None
        try:
            for number, member in enumerate(iter_members(self._path, wanted=_is_part_of_sample)):
                name = readable(member.name).removeprefix("./")
                if is_picture_name(name):
                    photos.append((number, name))
                else:
                    try:
                        text = _label_in_member(name, member.read())
                    except DctafdError:
                        continue
                    if text is not None:
                        labels[_sample_key(name)] = text
        except (DctafdError, OSError) as error:
            problem = error
        _, changed = _size_and_time(self._path)
        for number, name in photos:
            yield Listed(number, self._prefix + name, labels.get(_sample_key(name)), 0, changed)
        if problem is not None:
            yield problem

    def contents(self, keys: Collection[int | str]) -> Iterator[tuple[int | str, Callable[[], bytes]]]:
        """Yield readers of members; others are passed over."""
        left = set(keys)
        try:
            for number, member in enumerate(iter_members(self._path, wanted=_is_part_of_sample)):
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


def _size_and_time(path: str) -> tuple[int, int]:
    """Return bytes and time of change in ns, 0 where they cannot be known."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _is_part_of_sample(name: str) -> bool:
    return is_picture_name(name) or name.lower().endswith((".cls", ".json"))


def _sample_key(name: str) -> str:
    """Return what the members of a WebDataset sample share: the name up to the first dot after its folder."""
    path = PurePosixPath(name)
    return f"{path.parent}/{path.name.partition('.')[0]}"


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
        path: of the file.
        prefix: folder in front of the photos' names, with a "/" at its end.
        column, label_column: their names; the latter may be missing.
    """

    label_kind = "a Parquet column"
    any_order = False

    def __init__(
        self, path: str, prefix: str = "", column: str = "image", label_column: str = "label"
    ) -> None:
        self._path, self._prefix, self.name = path, prefix, readable(path)
        self._column, self._label_column = column, label_column
        self.label_names: tuple[str, ...] | None = None

    def listing(self) -> Iterator[Listed | Exception]:
        """Yield the rows with their labels; pixels stay on the disk."""
        try:
            with _opened(self._path) as table:
                yield from self._listed(table)
        except (DctafdError, OSError) as error:
            yield error

    def _listed(self, table: Any) -> Iterator[Listed]:
        schema = table.schema_arrow
        if self._column not in schema.names:
            raise DctafdError(f"{self.name} has no column {self._column!r}; it has {', '.join(schema.names)}")
        self.label_names = _hugging_face_names(schema.metadata or {}, self._label_column)
        columns = [f"{self._column}.path"] if _has_path(schema.field(self._column).type) else []
        columns += [self._label_column] if self._label_column in schema.names else []
        (_, changed), stem = _size_and_time(self._path), _PIECE.sub("", Path(self._path).stem)
        row = 0
        for batch in table.iter_batches(batch_size=4096, columns=columns or None) if columns else ():
            for record in batch.to_pylist():
                path = (record.get(self._column) or {}).get("path")
                said = record.get(self._label_column)
                name = readable(path).lstrip("/") if path else f"{stem}/{row}"
                label = None if said is None else str(said)
                yield Listed(row, self._prefix + name, label, 0, changed)
                row += 1
        if not columns:
            for row in range(table.metadata.num_rows):
                yield Listed(row, f"{self._prefix}{stem}/{row}", None, 0, changed)

    def contents(self, keys: Collection[int | str]) -> Iterator[tuple[int | str, Callable[[], bytes]]]:
        """Yield readers of rows; row groups without a wanted one are not read."""
        left = {int(key) for key in keys}
        try:
            with _opened(self._path) as table:
                for number, data in self._rows(table, frozenset(left)):
                    left.remove(number)
                    yield number, partial(_row_bytes, data)
            problem: Exception = ArchiveError("the row is no longer there")
        except (DctafdError, OSError) as error:
            problem = error
        for key in sorted(left):
            yield key, failing(problem)

    def _rows(self, table: Any, left: frozenset[int]) -> Iterator[tuple[int, Any]]:
        first = 0
        for group in range(table.metadata.num_row_groups):
            facts = table.metadata.row_group(group)
            if any(first <= row < first + facts.num_rows for row in left):
                if facts.total_byte_size > _MAX_ROW_GROUP_BYTES:
                    raise LimitExceededError(f"{self.name}: a row group of {facts.total_byte_size} bytes")
                row = first
                for batch in table.iter_batches(batch_size=16, row_groups=[group], columns=[self._column]):
                    for value in batch.column(0):
                        if row in left:
                            yield row, value.as_py()
                        row += 1
            first += facts.num_rows


def _row_bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise DctafdError("the row holds no picture")
    return data


def _has_path(kind: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_struct(kind) and any(kind.field(i).name == "path" for i in range(kind.num_fields))


def _hugging_face_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    """Return the class names that Hugging Face's datasets keep in a schema's metadata."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Open a Parquet file; whatever pyarrow raises about it is an `ArchiveError`."""
    require_extra("parquet")
    from pyarrow import parquet

    with damage_named(readable(os.path.basename(path))), parquet.ParquetFile(path) as file:
        yield file
