"""Results on stdout or in a file, in every format: the one writer of the commands whose results are few.

`classify` writes by the same formats (`dctafd.batch.formats`, `dctafd.batch.tables`), batch by batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dctafd.batch.formats import Csv, Json, JsonLines, Record, TextFormat, json_text
from dctafd.batch.tables import Column, Page, table_text
from dctafd.extras import require_extra
from dctafd.files import atomic_output

if TYPE_CHECKING:
    from dctafd.batch.store_writing import OutputUrl


@contextmanager
def text_output(output: Path | OutputUrl | None) -> Iterator[IO[str]]:
    """Open what text results are written to: a file that appears whole or not at all, or stdout for None."""
    if output is None:
        yield sys.stdout
        return
    with _opened(output) as file:
        yield file


def _opened(output: Path | OutputUrl, binary: bool = False) -> AbstractContextManager[IO[Any]]:
    if isinstance(output, Path):
        return atomic_output(output, binary=binary)
    from dctafd.batch.store_writing import uploaded

    return uploaded(output.url, binary=binary)


def write_records(
    records: Iterable[Record], output_format: str, output: Path | OutputUrl | None = None
) -> None:
    """Write plain results (dicts of scalars, lists and dicts) in one of the command line's formats.

    In tables, CSV and Parquet a nested dict becomes one column per key ("sizes.mean"), and a list is written
    as JSON. A table that does not fit the terminal leaves out columns from the right; the first one stays.

    Args:
        records: the results; the columns are all keys in the order of their first appearance.
        output_format: "table", "json", "jsonl", "csv" or "parquet".
        output: a file or URL, written whole or not at all, or None for stdout.

    Raises:
        MissingExtraError: Parquet is wanted and pyarrow is not installed.
        OSError: the file cannot be written.
    """
    records = list(records)
    if output_format == "parquet":
        if output is None:
            raise ValueError("parquet needs a file")
        with _opened(output, binary=True) as binary_file:
            _write_parquet(records, binary_file)
        return
    with text_output(output) as file:
        if output_format == "table":
            file.write(_table(records, Page.of(file)))
            return
        layout = _layout(output_format, records)
        file.write(layout.begin() + layout.batch(records) + layout.end())


def flatten(record: Record, prefix: str = "") -> dict[str, Any]:
    """Return `record` with nested dicts as dotted keys and lists as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif isinstance(value, list | tuple):
            flat[prefix + key] = json_text(value)
        else:
            flat[prefix + key] = value
    return flat


def _layout(output_format: str, records: Sequence[Record]) -> TextFormat[Record]:
    if output_format == "csv":
        return Csv(_columns(map(flatten, records)), flatten)
    return JsonLines(dict) if output_format == "jsonl" else Json(dict)


def _columns(rows: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _table(records: Sequence[Record], page: Page) -> str:
    rows = [flatten(record) for record in records]
    columns = []
    for rank, title in enumerate(_columns(rows)):
        values = [row.get(title) for row in rows]
        numeric = all(isinstance(value, int | float | None) for value in values)
        cut = None if numeric else "end" if rank else "middle"
        columns.append(Column(title, numeric, cut, rank))  # type: ignore[arg-type]
    cells = [[_cell(row.get(column.title)) for column in columns] for row in rows]
    return table_text(columns, cells, page)


def _write_parquet(records: Sequence[Record], file: IO[bytes]) -> None:
    require_extra("parquet")
    import pyarrow
    from pyarrow import parquet

    rows = [flatten(record) for record in records]
    columns = {column: [row.get(column) for row in rows] for column in _columns(rows)}
    parquet.write_table(pyarrow.table(columns), file)


def _cell(value: Any) -> str:
    """Return a table cell: short numbers, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
