"""Classification results as text: jsonl, json, csv, and a table for people.

CSV has these columns: source, member, width, height, color_space, process, subsampling, quality,
quality_exact, primary_quality, drift, model, then index_1, label_1, score_1, index_2 ... up to the number of
predictions that was asked for, then warnings (joined by "; "), error_type and error_message. What is None
is empty.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from typing import Protocol

from dctafd.inference.results import RECORD_KEYS, Result

_SCALARS = RECORD_KEYS[: RECORD_KEYS.index("predictions")]
_ROWS_PER_TABLE = 100


class TextFormat(Protocol):
    """A way to write results one batch after the other."""

    def begin(self) -> str:
        """Return what comes before the first result."""

    def batch(self, results: Sequence[Result]) -> str:
        """Return the text of some results, which may be kept back until `end`."""

    def end(self) -> str:
        """Return what comes after the last result."""


class JsonLines:
    """One JSON record a line."""

    def begin(self) -> str:
        """Return nothing."""
        return ""

    def batch(self, results: Sequence[Result]) -> str:
        """Return a line a result."""
        return "".join(_json(result) + "\n" for result in results)

    def end(self) -> str:
        """Return nothing."""
        return ""


class Json:
    """One JSON array, a record a line."""

    def __init__(self) -> None:
        self._separator = "\n"

    def begin(self) -> str:
        """Open the array."""
        return "["

    def batch(self, results: Sequence[Result]) -> str:
        """Return the elements."""
        pieces = []
        for result in results:
            pieces.append(self._separator + _json(result))
            self._separator = ",\n"
        return "".join(pieces)

    def end(self) -> str:
        """Close the array."""
        return "\n]\n"


class Csv:
    """The columns of this module's docstring.

    Args:
        top_k: predictions a row has columns for.
    """

    def __init__(self, top_k: int) -> None:
        self._top_k = top_k

    def begin(self) -> str:
        """Return the header line."""
        best = [f"{key}_{n}" for n in range(1, self._top_k + 1) for key in ("index", "label", "score")]
        return _csv_lines([[*_SCALARS, *best, "warnings", "error_type", "error_message"]])

    def batch(self, results: Sequence[Result]) -> str:
        """Return a row a result."""
        return _csv_lines([self._row(result) for result in results])

    def end(self) -> str:
        """Return nothing."""
        return ""

    def _row(self, result: Result) -> list[object]:
        best: list[object] = []
        for prediction in result.predictions[: self._top_k]:
            best += [prediction.index, prediction.label, prediction.score]
        best += [None] * (3 * self._top_k - len(best))
        error = [result.error.type, result.error.message] if result.error else [None, None]
        return [*(getattr(result, key) for key in _SCALARS), *best, "; ".join(result.warnings), *error]


class Table:
    """For people: one photo in detail, several as a row each, in tables of 100 rows."""

    def __init__(self) -> None:
        self._rows: list[Result] = []
        self._tables = 0

    def begin(self) -> str:
        """Return nothing."""
        return ""

    def batch(self, results: Sequence[Result]) -> str:
        """Return the tables that are full."""
        self._rows.extend(results)
        text = ""
        while len(self._rows) > _ROWS_PER_TABLE:
            text += self._table(self._rows[:_ROWS_PER_TABLE])
            del self._rows[:_ROWS_PER_TABLE]
        return text

    def end(self) -> str:
        """Return what is left."""
        if not self._rows:
            return ""
        if len(self._rows) == 1 and not self._tables:
            return _details(self._rows[0])
        return self._table(self._rows)

    def _table(self, results: Sequence[Result]) -> str:
        from rich.table import Table as RichTable
        from rich.text import Text

        self._tables += 1
        table = RichTable(box=None, pad_edge=False, header_style="bold", show_header=self._tables == 1)
        for heading in ("photo", "size", "quality", "drift", "best", "score", "next"):
            table.add_column(heading, justify="right" if heading in ("quality", "drift", "score") else "left")
        for result in results:
            table.add_row(*(Text(printable(cell)) for cell in _table_cells(result)))
        return _rendered(table)


def text_format(name: str, top_k: int) -> TextFormat:
    """Return the format called "jsonl", "json", "csv" or "table"."""
    formats: dict[str, type[JsonLines | Json | Table]] = {"jsonl": JsonLines, "json": Json, "table": Table}
    return Csv(top_k) if name == "csv" else formats[name]()


def printable(text: str) -> str:
    """Return `text` with control characters (which could drive a terminal) escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def input_name(result: Result) -> str:
    """Return how people call an input: its path, and the member after a colon."""
    return result.source if result.member is None else f"{result.source}: {result.member}"


def _json(result: Result) -> str:
    return json.dumps(result.to_record(), ensure_ascii=False)


def _csv_lines(rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _table_cells(result: Result) -> list[str]:
    if result.error is not None:
        return [input_name(result), "", "", "", f"{result.error.type}: {result.error.message}", "", ""]
    best, *others = result.predictions
    return [
        input_name(result),
        f"{result.width}x{result.height}",
        _quality(result),
        "" if result.drift is None else f"{result.drift:.3f}",
        best.label,
        f"{best.score:.1%}",
        ", ".join(f"{other.label} {other.score:.0%}" for other in others[:2]),
    ]


def _quality(result: Result) -> str:
    text = f"{'' if result.quality_exact else '~'}{result.quality}"
    return text if result.primary_quality is None else f"{result.primary_quality} > {text}"


def _details(result: Result) -> str:
    if result.error is not None:
        return printable(f"{input_name(result)}: {result.error.type}: {result.error.message}") + "\n"
    facts = [f"{result.width}x{result.height}", f"{result.process}", f"{result.subsampling}"]
    facts.append(f"quality {_quality(result)}")
    if result.drift is not None:
        facts.append(f"drift {result.drift:.3f}")
    lines = [printable(f"{input_name(result)}  ({', '.join(facts)})")]
    lines += [f"  {best.score:6.1%}  {printable(best.label)}" for best in result.predictions]
    lines += [f"  warning: {printable(warning)}" for warning in result.warnings]
    return "\n".join(lines) + "\n"


def _rendered(table: object) -> str:
    """Lay a table out for the terminal's width, or for 160 columns where there is none."""
    from rich.console import Console

    buffer = io.StringIO()
    probe = Console()
    wide = probe.is_terminal or "COLUMNS" in os.environ
    console = Console(
        file=buffer,
        width=probe.width if wide else 160,
        force_terminal=probe.is_terminal,
        no_color=probe.no_color,
        highlight=False,
    )
    console.print(table)
    return buffer.getvalue()
