"""Records as JSON Lines, JSON and CSV: piece by piece, for runs of any length and for short lists alike.

A record is a dict of scalars, lists and dicts. CSV has no types, and tools that read it guess: `csv_text`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

Record = Mapping[str, Any]
Row = TypeVar("Row", contravariant=True)

_LIKE_A_TIME = re.compile(r"\d{1,2}:\d{1,2}:\d{1,2}")


class TextFormat(Protocol[Row]):
    """A way to write rows one batch after the other."""

    def begin(self) -> str:
        """Return what comes before the first row."""

    def batch(self, rows: Sequence[Row]) -> str:
        """Return the text of some rows, which may be kept back until `end`."""

    def end(self) -> str:
        """Return what comes after the last row."""


class JsonLines(Generic[Row]):
    """One JSON record a line.

    Args:
        to_record: makes a record of a row.
    """

    def __init__(self, to_record: Callable[[Row], Record]) -> None:
        self._to_record = to_record

    def begin(self) -> str:
        """Return nothing."""
        return ""

    def batch(self, rows: Sequence[Row]) -> str:
        """Return a line per row."""
        return "".join(json_text(self._to_record(row)) + "\n" for row in rows)

    def end(self) -> str:
        """Return nothing."""
        return ""


class Json(Generic[Row]):
    """One JSON array, a record per line.

    Args:
        to_record: makes a record of a row.
    """

    def __init__(self, to_record: Callable[[Row], Record]) -> None:
        self._to_record = to_record
        self._separator = "\n"

    def begin(self) -> str:
        """Open the array."""
        return "["

    def batch(self, rows: Sequence[Row]) -> str:
        """Return the elements."""
        pieces = []
        for row in rows:
            pieces.append(self._separator + json_text(self._to_record(row)))
            self._separator = ",\n"
        return "".join(pieces)

    def end(self) -> str:
        """Close the array."""
        return "\n]\n"


class Csv(Generic[Row]):
    """A header line and a line per row; what is None is empty.

    Args:
        columns: names of the columns.
        to_cells: makes of a row its cells by column; those that are missing are empty.
    """

    def __init__(self, columns: Sequence[str], to_cells: Callable[[Row], Record]) -> None:
        self._columns = columns
        self._to_cells = to_cells

    def begin(self) -> str:
        """Return the header line."""
        return _csv_lines([self._columns])

    def batch(self, rows: Sequence[Row]) -> str:
        """Return a line per row."""
        lines = []
        for row in rows:
            cells = self._to_cells(row)
            lines.append([csv_text(cells.get(column)) for column in self._columns])
        return _csv_lines(lines)

    def end(self) -> str:
        """Return nothing."""
        return ""


def csv_text(value: Any) -> Any:
    """Return a cell's value so that tools which guess types keep text as text.

    DuckDB and spreadsheets read "4:2:0" as two minutes past four, in quotes, too: it becomes "chroma 4:2:0".
    """
    return f"chroma {value}" if isinstance(value, str) and _LIKE_A_TIME.fullmatch(value) else value


def json_text(value: Any) -> str:
    """Return JSON on one line; NumPy's values and paths are taken, too."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays and paths into what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _csv_lines(rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
