"""Classification results in Parquet: the record's structure, and label and score of the best prediction."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import IO, Any

from dctafd.batch.kept import Kinds, as_kind
from dctafd.extras import require_extra
from dctafd.inference.results import UNSURE

ROW_GROUP = 8192


def parquet_schema(kinds: Kinds = ()) -> Any:
    """Return the Arrow schema of a record.

    Args:
        kinds: name and kind of what is carried over, which becomes the struct `kept`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    require_extra("parquet")
    import pyarrow as pa

    known = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
    kept = [("kept", pa.struct([(name, known[kind]) for name, kind in kinds]))] if kinds else []
    prediction = pa.struct([("index", pa.int32()), ("label", pa.string()), ("score", pa.float64())])
    return pa.schema(
        [
            ("source", pa.string()),
            ("member", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("color_space", pa.string()),
            ("process", pa.string()),
            ("subsampling", pa.string()),
            ("quality", pa.int16()),
            ("quality_exact", pa.bool_()),
            ("primary_quality", pa.int16()),
            ("drift", pa.float64()),
            ("model", pa.string()),
            ("afd", pa.string()),
            ("label", pa.string()),
            ("score", pa.float64()),
            ("predictions", pa.list_(prediction)),
            ("warnings", pa.list_(pa.string())),
            ("error", pa.struct([("type", pa.string()), ("message", pa.string())])),
            *kept,
        ]
    )


def parquet_bytes(records: list[dict[str, Any]], kinds: Kinds = ()) -> bytes:
    """Return some records as one Parquet file with one row group; label and score are the best ones."""
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(record_table(records, kinds), buffer)
    return buffer.getvalue()


def record_table(records: list[dict[str, Any]], kinds: Kinds = ()) -> Any:
    """Return records as an Arrow table, label and score of the best prediction beside them."""
    import pyarrow as pa

    rows = [{**(record["predictions"] or [{}])[0], **record} for record in records]
    rows = [{**row, "label": UNSURE} if row.get("unsure") else row for row in rows]
    for row in rows if kinds else ():
        kept = row.get("kept") or {}
        row["kept"] = {name: as_kind(kept.get(name), kind) for name, kind in kinds}
    return pa.Table.from_pylist(rows, parquet_schema(kinds))


def join_parquet(parts: Iterable[Callable[[], IO[bytes]]], file: IO[bytes], kinds: Kinds = ()) -> None:
    """Write the rows of `parts` as one Parquet file, `ROW_GROUP` rows a group however the parts were cut."""
    from pyarrow import parquet

    with ParquetStream(file, kinds) as rows:
        for opener in parts:
            with opener() as part, parquet.ParquetFile(part) as table:
                for group in range(table.num_row_groups):
                    rows.add(table.read_row_group(group))


class ParquetStream:
    """One Parquet file, written from front to back, `ROW_GROUP` rows a group however the rows come.

    Args:
        file: where it goes; a pipe will do.
        kinds: name and kind of what is carried over.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, file: IO[bytes], kinds: Kinds = ()) -> None:
        self._kinds = kinds
        schema = parquet_schema(kinds)
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(Sink(file), schema)
        self._rest = schema.empty_table()

    def __enter__(self) -> ParquetStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._rest.num_rows:
            self._writer.write_table(self._rest.combine_chunks(), row_group_size=ROW_GROUP)
        self._writer.close()

    def write(self, records: list[dict[str, Any]]) -> None:
        """Add some records."""
        self.add(record_table(records, self._kinds))

    def add(self, table: Any) -> None:
        """Add the rows of an Arrow table."""
        import pyarrow as pa

        self._rest = pa.concat_tables([self._rest, table])
        while self._rest.num_rows >= ROW_GROUP:
            group = self._rest.slice(0, ROW_GROUP).combine_chunks()
            self._writer.write_table(group, row_group_size=ROW_GROUP)
            self._rest = self._rest.slice(ROW_GROUP)


class Sink:
    """A file that is written only, and knows by itself how far it has come: a pipe does not.

    Args:
        file: where it goes.
    """

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._position = 0

    def write(self, data: Any) -> int:
        """Write some bytes."""
        self._file.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many were written."""
        return self._position

    def flush(self) -> None:
        """Hand on what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Hand on what is buffered; the file stays open."""
        self._file.flush()
