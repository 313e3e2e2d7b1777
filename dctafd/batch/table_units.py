"""Tables as units of work: some row groups each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dctafd.batch.kept import Keep, Kinds
from dctafd.batch.photo_table import NoColumnError, opened_table
from dctafd.batch.shown_urls import is_url
from dctafd.batch.stores import Described
from dctafd.batch.units import Reading, RowGroups, Unit
from dctafd.errors import MissingExtraError
from dctafd.inputs.folders import Found


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What is known of a table before its photos are read.

    Attributes:
        group_rows: rows of each row group; None where it cannot be read, which its record will tell.
        kinds: name and kind of what is carried over.
        schema: all columns, as text.
    """

    group_rows: tuple[int, ...] | None
    kinds: Kinds | None
    schema: str = ""


def table_facts(entry: Found, reading: Reading) -> TableFacts:
    """Look into a table's footer.

    Raises:
        NoColumnError: it lacks a column that was asked for by name.
        MissingExtraError: pyarrow is not installed.
    """
    known = Described(stat.S_IFREG, entry.size, entry.version) if is_url(entry.path) else None
    try:
        with opened_table(entry.path, reading.column, known) as table:
            columns = table.schema.remove_metadata().to_string()
            return TableFacts(table.group_rows, table.kinds(reading.keep.names), columns)
    except MissingExtraError:
        raise
    except NoColumnError:
        if reading.column is not None or reading.keep:
            raise
    except Exception:  # whatever a table sets off belongs to its record
        pass
    return TableFacts(None, None)


def table_units(entry: Found, facts: TableFacts, reading: Reading, rows_per_unit: int) -> Iterator[Unit]:
    """Yield a table's units: row groups one after the other, until there are `rows_per_unit` rows."""
    size = _size(entry)
    if facts.group_rows is None:
        yield Unit((entry,), "table", size, reading)
        return
    total = sum(facts.group_rows)
    if not facts.group_rows:
        yield Unit((entry,), "table", size, reading, RowGroups(range(0), 0, ()))
    begin = row = rows = 0
    for group, count in enumerate(facts.group_rows):
        rows += count
        if rows >= rows_per_unit or group == len(facts.group_rows) - 1:
            groups = RowGroups(range(begin, group + 1), row, facts.group_rows[begin : group + 1])
            yield Unit((entry,), "table", size * rows // max(total, 1), reading, groups)
            begin, row, rows = group + 1, row + rows, 0


def joint_kinds(keep: Keep, tables: Sequence[Kinds], only_tables: bool) -> Kinds:
    """Return the kinds of what is carried over: those of the tables where they agree, text elsewhere."""
    if not keep:
        return ()
    if only_tables and tables and all(kinds == tables[0] for kinds in tables):
        return tables[0]
    return tuple((name, "text") for name in keep.names)


def _size(entry: Found) -> int:
    if entry.size is not None:
        return entry.size
    try:
        return os.stat(entry.path).st_size
    except (OSError, ValueError):
        return 0
