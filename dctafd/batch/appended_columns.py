"""Results as further columns of a copy of the tables that the photos came from."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO, Any

from dctafd.batch.parquet import Sink, parquet_schema
from dctafd.batch.partial_output import Opener, ParquetParts
from dctafd.batch.photo_table import opened_table
from dctafd.batch.shown_urls import is_url, shown
from dctafd.batch.sources import Plan
from dctafd.batch.stores import Described
from dctafd.batch.units import Unit
from dctafd.errors import ArchiveError

PREFIX = "dctafd_"
_LEFT_OUT = ("source", "member")  # the row says it


class AppendedParts(ParquetParts):
    """Parts of results that are joined with the tables which they belong to.

    Args:
        plan: the run's; see `check_appendable`.
        column: that of the photos, where one was named.
    """

    def __init__(self, plan: Plan, column: str | None) -> None:
        super().__init__()
        self._plan, self._column = plan, column

    def join(self, parts: Iterable[Opener], extends: bool, file: IO[bytes]) -> None:
        """Write the tables' rows, in their row groups, each with its results.

        Raises:
            ArchiveError: there is not one result a row.
        """
        results = _Results(parts)
        from pyarrow import parquet

        with ExitStack() as stack:
            writer = None
            for rows in _table_rows(self._plan.units, self._column):
                whole = _beside(rows, results.take(rows.num_rows))
                if writer is None:
                    writer = stack.enter_context(parquet.ParquetWriter(Sink(file), whole.schema))
                whole = whole.replace_schema_metadata(writer.schema.metadata)
                writer.write_table(whole, row_group_size=max(whole.num_rows, 1))
        results.check_end()


def check_appendable(plan: Plan, column: str | None) -> None:
    """See whether results can become columns of what a plan reads.

    Raises:
        ValueError: not everything is a table that can be read, the tables have different columns, or they
            have such columns already.
    """
    for unit in plan.units:
        if unit.kind != "table" or unit.rows is None:
            raise ValueError(f"{shown(unit.entries[0].path)} is no Parquet file with photos")
    if not plan.units:
        raise ValueError("there is nothing to append to")
    if len(plan.schemas) > 1:
        raise ValueError("the tables have different columns: make an output of each")
    entry = plan.units[0].entries[0]
    with opened_table(entry.path, column, _known(plan.units[0])) as table:
        taken = [name for name in table.schema.names if name.startswith(PREFIX)]
    if taken:
        raise ValueError(f"{shown(entry.path)} has a column {taken[0]!r} already")


def _table_rows(units: Iterable[Unit], column: str | None) -> Iterator[Any]:
    """Yield all columns of the units' row groups, as Arrow tables."""
    for path, of_table in itertools.groupby(units, lambda unit: unit.entries[0].path):
        first, *others = of_table
        with opened_table(path, column, _known(first)) as table:
            for unit in (first, *others):
                assert unit.rows is not None
                for group in unit.rows.groups:
                    yield table.whole_group(group)


def _known(unit: Unit) -> Described | None:
    entry = unit.entries[0]
    return Described(stat.S_IFREG, entry.size, entry.version) if is_url(entry.path) else None


def _beside(rows: Any, results: Any) -> Any:
    for name in parquet_schema().names:
        if name not in _LEFT_OUT:
            field = results.schema.field(name).with_name(PREFIX + name)
            rows = rows.append_column(field, results.column(name))
    return rows


class _Results:
    """The rows of parts, taken a few at a time."""

    def __init__(self, parts: Iterable[Opener]) -> None:
        self._groups = _groups(parts)
        self._rest = parquet_schema().empty_table()

    def take(self, count: int) -> Any:
        import pyarrow as pa

        pieces = [self._rest]
        while sum(piece.num_rows for piece in pieces) < count:
            piece = next(self._groups, None)
            if piece is None:
                raise ArchiveError("there are fewer results than rows: a table could not be read to its end")
            pieces.append(piece)
        whole = pa.concat_tables(pieces)
        self._rest = whole.slice(count)
        return whole.slice(0, count).combine_chunks()

    def check_end(self) -> None:
        if self._rest.num_rows or next(self._groups, None) is not None:
            raise ArchiveError("there are more results than rows: a table could not be read to its end")


def _groups(parts: Iterable[Opener]) -> Iterator[Any]:
    from pyarrow import parquet

    for opener in parts:
        with opener() as part, parquet.ParquetFile(part) as table:
            for group in range(table.num_row_groups):
                yield table.read_row_group(group)
