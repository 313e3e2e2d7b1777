"""Classification results in Parquet, with the record's structure: predictions are a list of structs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from dctafd.errors import MissingExtraError

ROW_GROUP = 8192


def parquet_schema() -> Any:
    """Return the Arrow schema of a record.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
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
            ("predictions", pa.list_(prediction)),
            ("warnings", pa.list_(pa.string())),
            ("error", pa.struct([("type", pa.string()), ("message", pa.string())])),
        ]
    )


def write_parquet(records: list[dict[str, Any]], file: IO[bytes]) -> None:
    """Write some records as one Parquet file with one row group."""
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(records, parquet_schema()), file)


def join_parquet(parts: Iterable[Path], file: IO[bytes]) -> None:
    """Write the rows of `parts` as one Parquet file, `ROW_GROUP` rows a group however the parts were cut."""
    from pyarrow import parquet

    with parquet.ParquetWriter(file, parquet_schema()) as writer:
        for table in _regrouped(parts):
            writer.write_table(table, row_group_size=ROW_GROUP)


def _regrouped(parts: Iterable[Path]) -> Iterator[Any]:
    """Yield tables of `ROW_GROUP` rows, the last one shorter."""
    import pyarrow as pa
    from pyarrow import parquet

    rest = parquet_schema().empty_table()
    for part in parts:
        with part.open("rb") as file:
            rest = pa.concat_tables([rest, parquet.read_table(file)])
        while rest.num_rows >= ROW_GROUP:
            yield rest.slice(0, ROW_GROUP).combine_chunks()
            rest = rest.slice(ROW_GROUP)
    if rest.num_rows:
        yield rest.combine_chunks()
