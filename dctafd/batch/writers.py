"""Classification results as text: jsonl, json, csv, and a table for people.

CSV has these columns: source, member, width, height, color_space, process, subsampling, quality,
quality_exact, primary_quality, drift, model, label and score of the best prediction, then index_1, label_1,
score_1, index_2 ... up to the number of predictions that was asked for, then warnings (joined by "; "),
error_type and error_message, and last what was carried over, as kept.NAME. What is None is empty. Where a
result is unsure, `label` says so, and `label_1` is the best class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dctafd.batch.formats import Csv, Json, JsonLines, TextFormat, json_text
from dctafd.batch.tables import PLAIN, Column, Page, table_text
from dctafd.inference.results import RECORD_KEYS, UNSURE, Result
from dctafd.jpeg.damage import what_is_missing
from dctafd.plain_text import printable

_SCALARS = RECORD_KEYS[: RECORD_KEYS.index("predictions")]
_ROWS_PER_TABLE = 100


def text_format(name: str, top_k: int, page: Page = PLAIN, kept: Sequence[str] = ()) -> TextFormat[Result]:
    """Return the format called "jsonl", "json", "csv" or "table".

    Args:
        name: the format.
        top_k: predictions that a row of CSV has columns for.
        page: what a table is laid out for.
        kept: names of what is carried over.
    """
    if name == "csv":
        return Csv([*_csv_columns(top_k), *(f"kept.{name}" for name in kept)], _csv_cells)
    if name == "table":
        return Table(page)
    return JsonLines(Result.to_record) if name == "jsonl" else Json(Result.to_record)


def input_name(result: Result) -> str:
    """Return how people call an input: its path, and the member after a colon."""
    return result.source if result.member is None else f"{result.source}: {result.member}"


def _csv_columns(top_k: int) -> list[str]:
    ranked = [f"{key}_{n}" for n in range(1, top_k + 1) for key in ("index", "label", "score")]
    return [*_SCALARS, "label", "score", *ranked, "warnings", "error_type", "error_message"]


def _csv_cells(result: Result) -> dict[str, Any]:
    cells: dict[str, Any] = {key: getattr(result, key) for key in _SCALARS}
    for number, prediction in enumerate(result.predictions, start=1):
        cells |= {f"index_{number}": prediction.index, f"label_{number}": prediction.label}
        cells[f"score_{number}"] = prediction.score
    if result.predictions:
        cells |= {"label": result.best_label, "score": result.predictions[0].score}
    if result.error is not None:
        cells |= {"error_type": result.error.type, "error_message": result.error.message}
    for name, value in (result.kept or {}).items():
        cells[f"kept.{name}"] = json_text(value) if isinstance(value, dict | list) else value
    return {**cells, "warnings": "; ".join(result.warnings)}


class Table:
    """For people: one photo in detail, several as a row each, in tables of 100 rows.

    Args:
        page: what they are laid out for.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._rows: list[Result] = []
        self._heading: tuple[Column, ...] | None = None

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
        if len(self._rows) == 1 and self._heading is None:
            return _details(self._rows[0])
        return self._table(self._rows)

    def _table(self, results: Sequence[Result]) -> str:
        """Return a table; its titles stand above it unless they are those of the last one."""
        damaged = any(what_is_missing(result.warnings) for result in results)
        columns = _COLUMNS if damaged else tuple(c for c in _COLUMNS if c is not _MISSING)
        rows = [[cells[column.title] for column in columns] for cells in map(_table_cells, results)]
        heading, self._heading = columns != self._heading, columns
        return table_text(columns, rows, self._page, heading=heading)


_MISSING = Column("missing", numeric=True, rank=1)
_COLUMNS = (
    Column("photo", cut="middle"),
    Column("size", rank=5),
    Column("quality", numeric=True, rank=3),
    Column("drift", numeric=True, rank=4),
    _MISSING,
    Column("best", cut="end"),
    Column("score", numeric=True, rank=2),
    Column("next", cut="end", rank=6),
)


def _table_cells(result: Result) -> dict[str, str]:
    cells = dict.fromkeys((column.title for column in _COLUMNS), "") | {"photo": input_name(result)}
    if result.error is not None:
        return cells | {"best": f"{result.error.type}: {result.error.message}"}
    best, *others = result.predictions
    if result.unsure:
        others = list(result.predictions)
    return cells | {
        "size": f"{result.width}x{result.height}",
        "quality": _quality(result),
        "drift": "" if result.drift is None else f"{result.drift:.3f}",
        "missing": what_is_missing(result.warnings) or "",
        "best": result.best_label or "",
        "score": f"{best.score:.1%}",
        "next": ", ".join(f"{other.label} {other.score:.0%}" for other in others[:2]),
    }


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
    if missing := what_is_missing(result.warnings):
        facts.append(f"damaged, {missing} missing")
    lines = [printable(f"{input_name(result)}  ({', '.join(facts)})")]
    if result.unsure:
        lines.append(f"  {UNSURE}: no class has the score that --min-score asks for")
    lines += [f"  {best.score:6.1%}  {printable(best.label)}" for best in result.predictions]
    lines += [f"  warning: {printable(warning)}" for warning in result.warnings]
    return "\n".join(lines) + "\n"
