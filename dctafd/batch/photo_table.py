"""Photos in Parquet files, on disk or behind URLs: which column holds them, and their rows, group by group.

Known layouts: a column of bytes, Hugging Face's struct of `bytes` and `path` (with the class names in the
schema's metadata), img2dataset's `jpg` beside `key`, Spark's `content` beside `path`. A path in a table is
only a name: no file is opened because a table says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from dctafd.batch.archives import check_size, damage_named
from dctafd.batch.kept import KEY, Kinds, descend, plain
from dctafd.batch.remote_files import RemoteFile
from dctafd.batch.shown_urls import file_name, is_url, shown
from dctafd.batch.stores import Described
from dctafd.errors import ArchiveError, LimitExceededError, NotAJpegError
from dctafd.extras import require_extra
from dctafd.inputs.source_items import readable

_IMAGE_COLUMNS = ("image", "jpg", "jpeg", "img", "picture", "photo", "content", "image_bytes", "bytes")
_NAME_COLUMNS = ("key", "__key__", "file_name", "filename", "path")
_MAX_ROW_GROUP_BYTES = 4 * 2**30
_BUFFER = 2**20  # bytes of a column that are read at a time
_PIXEL_ROWS, _OTHER_ROWS = 16, 4096  # rows that are held at a time


class NoColumnError(ArchiveError):
    """A table has no such column, or none with photos."""


@dataclass(frozen=True, slots=True)
class Row:
    """One photo of a table.

    Attributes:
        number: of the row, from 0.
        name: what the table calls it, None where it does not.
        photo: the bytes, or what stands in their place.
        values: of the other columns that were asked for, plain.
    """

    number: int
    name: str | None
    photo: Any
    values: Mapping[str, Any]

    def read(self) -> bytes:
        """Return the photo's bytes.

        Raises:
            NotAJpegError: there are none.
            LimitExceededError: more than are read of one file.
        """
        data = self.photo.get("bytes") if isinstance(self.photo, dict) else self.photo
        if not isinstance(data, bytes):
            outside = isinstance(self.photo, dict) and self.photo.get("path")
            raise NotAJpegError(
                "the row names a file and does not hold it" if outside else "the row holds no picture"
            )
        check_size(len(data))
        return data


@contextmanager
def opened_table(
    path: str, column: str | None = None, described: Described | None = None
) -> Iterator[PhotoTable]:
    """Open a Parquet file.

    Args:
        path: the file; a path or a URL.
        column: that with the photos; None looks for it.
        described: what is known of a URL, which it still has to be.

    Raises:
        MissingExtraError: pyarrow is not installed.
        NoColumnError: there is no such column.
        ArchiveError: it is no Parquet file, or damaged.
        OSError: it cannot be read.
    """
    require_extra("parquet")
    from pyarrow import parquet

    name = readable(shown(path))
    with ExitStack() as stack, damage_named(readable(file_name(path))):
        source: Any = stack.enter_context(RemoteFile(path, described)) if is_url(path) else path
        # Without pre_buffer and with a buffer, a column is read as its rows are asked for.
        file = stack.enter_context(parquet.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False))
        yield PhotoTable(file, name, column)


class PhotoTable:
    """An open Parquet file; see `opened_table`.

    Attributes:
        name: as it may be shown.
        schema: Arrow's.
        image: the column with the photos.
        group_rows: rows of each row group.
    """

    def __init__(self, file: Any, name: str, column: str | None) -> None:
        self._file, self.name, self.schema = file, name, file.schema_arrow
        self.image = _image_column(self.schema, column, name)
        self._name_column = _name_column(self.schema, self.image)
        groups = range(file.metadata.num_row_groups)
        self.group_rows = tuple(file.metadata.row_group(group).num_rows for group in groups)
        if min(self.group_rows, default=0) < 0:
            raise ArchiveError(f"{name} is damaged: a row group of less than no rows")

    def label_names(self, column: str) -> tuple[str, ...] | None:
        """Return the class names that Hugging Face's datasets keep for a column, None without any."""
        names = _hugging_face_features(self.schema).get(column, {}).get("names")
        return tuple(map(str, names)) if isinstance(names, list) else None

    def kinds(self, names: Sequence[str]) -> Kinds:
        """Return (name, kind) of columns that are to be kept; see `kept.Kinds`.

        Raises:
            NoColumnError: there is none of a name, or it holds bytes.
        """
        return tuple((name, self._kind(name)) for name in names)

    def _kind(self, name: str) -> str:
        from pyarrow import types

        column, path = self._place(name)
        if column is None:
            return "text"
        kind = self.schema.field(column).type
        for part in path.split(".") if path else ():
            if not types.is_struct(kind) or kind.get_field_index(part) < 0:
                raise self._missing(name)
            kind = kind.field(part).type
        if _is_binary(kind):
            raise NoColumnError(f"{self.name}: the column {name!r} holds bytes, which are not carried over")
        if types.is_integer(kind) and not types.is_uint64(kind):
            return "int"
        if types.is_floating(kind):
            return "float"
        return "bool" if types.is_boolean(kind) else "text"

    def _place(self, name: str) -> tuple[str | None, str]:
        """Return the column and the path in it that a name stands for; no column for the row's own name."""
        if name in self.schema.names:
            return name, ""
        column, _, path = name.partition(".")
        if path and column in self.schema.names:
            return column, path
        if name == KEY:
            return None, ""
        raise self._missing(name)

    def _missing(self, name: str) -> NoColumnError:
        return _no_column(self.schema, repr(name), self.name)

    def rows(
        self, groups: Sequence[int], names: Sequence[str] = (), first: int = 0, photos: bool = True
    ) -> Iterator[Row]:
        """Yield the rows of some row groups, in order.

        Args:
            groups: their numbers.
            names: other columns whose values come along.
            first: number of the first group's first row.
            photos: whether to read the photos, too; else `Row.photo` is None.

        Raises:
            LimitExceededError: a row group is larger than is read.
            ArchiveError: the file is damaged.
        """
        places = {name: self._place(name) for name in names}
        columns = [self.image] if photos else []
        columns += [self._name_column] if self._name_column else []
        columns += [column for column, _ in places.values() if column is not None]
        row = first
        for group in groups:
            self._check(group)
            if not columns:
                yield from (Row(row + index, None, None, {}) for index in range(self.group_rows[group]))
                row += self.group_rows[group]
                continue
            for batch in self._file.iter_batches(
                _PIXEL_ROWS if photos else _OTHER_ROWS,
                [group],
                list(dict.fromkeys(columns)),
                use_threads=False,
            ):
                yield from self._batch_rows(batch, row, places, photos)
                row += batch.num_rows

    def _batch_rows(
        self, batch: Any, first: int, places: Mapping[str, tuple[str | None, str]], photos: bool
    ) -> Iterator[Row]:
        def cells(column: str | None) -> list[Any]:
            return [None] * batch.num_rows if column is None else batch.column(column).to_pylist()

        pictures = batch.column(self.image) if photos else None
        named = self._names(batch)
        values = {name: (cells(column), path) for name, (column, path) in places.items()}
        for index in range(batch.num_rows):
            row = {
                name: plain(descend(column[index], path) if path else column[index])
                for name, (column, path) in values.items()
            }
            if KEY in places and places[KEY][0] is None:
                row[KEY] = named[index]
            photo = None if pictures is None else pictures[index].as_py()
            yield Row(first + index, named[index], photo, row)

    def _names(self, batch: Any) -> list[str | None]:
        if self._name_column is None:
            return [None] * batch.num_rows
        column, _, field = self._name_column.rpartition(".")
        found = batch.column(column or field)
        if column:
            from pyarrow import compute

            found = compute.struct_field(found, field)
        return [readable(shown(str(name))) if name else None for name in found.to_pylist()]

    def whole_group(self, group: int) -> Any:
        """Return all columns of a row group as an Arrow table.

        Raises:
            LimitExceededError: it is larger than is read.
        """
        self._check(group)
        return self._file.read_row_group(group, use_threads=False)

    def _check(self, group: int) -> None:
        size = self._file.metadata.row_group(group).total_byte_size
        if size > _MAX_ROW_GROUP_BYTES:
            raise LimitExceededError(f"{self.name}: a row group of {size} bytes")


def _image_column(schema: Any, wanted: str | None, name: str) -> str:
    if wanted is not None:
        if schema.names.count(wanted) != 1:
            raise _no_column(schema, repr(wanted), name)
        if not _holds_pictures(schema.field(wanted).type):
            kind = schema.field(wanted).type
            raise NoColumnError(f"{name}: the column {wanted!r} holds no pictures, it is {kind}"[:300])
        return wanted
    features = _hugging_face_features(schema)
    told = [column for column, feature in features.items() if feature.get("_type") == "Image"]
    for column in (*told, *_IMAGE_COLUMNS):
        if schema.names.count(column) == 1 and _holds_pictures(schema.field(column).type):
            return column
    raise _no_column(schema, "of photos such as 'image'", name)


def _no_column(schema: Any, what: str, name: str) -> NoColumnError:
    columns = ", ".join(schema.names[:20]) + (", ..." if len(schema.names) > 20 else "")
    return NoColumnError(f"{name} has no column {what}; it has {readable(columns)}")


def _holds_pictures(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_binary(kind.field(index).type)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _name_column(schema: Any, image: str) -> str | None:
    from pyarrow import types

    kind = schema.field(image).type
    if types.is_struct(kind) and kind.get_field_index("path") >= 0:
        if types.is_string(kind.field("path").type) or types.is_large_string(kind.field("path").type):
            return f"{image}.path"
        return None
    for column in _NAME_COLUMNS:
        if schema.names.count(column) == 1 and types.is_string(schema.field(column).type):
            return column
    return None


def _hugging_face_features(schema: Any) -> dict[str, dict[str, Any]]:
    """Return what Hugging Face's datasets say of the columns in a schema's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
