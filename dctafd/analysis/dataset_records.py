"""Dataset statistics as records to write and as rows to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.dataset_stats import DatasetStatistics
from dctafd.analysis.folder_statistics import MOST_TABLES, FolderStatistics, NamedFile
from dctafd.analysis.frequency_sums import PLANES, FrequencyStatistics
from dctafd.batch.formats import json_text
from dctafd.batch.tables import Column, Page, table_text

TOTAL = "total"


def folder_rows(dataset: DatasetStatistics) -> list[tuple[str, FolderStatistics]]:
    """Return each folder with its name, the total last."""
    return [*((entry.folder, entry) for entry in dataset.folders), (TOTAL, dataset.total)]


def nested_records(dataset: DatasetStatistics) -> list[dict[str, Any]]:
    """Return one record per folder, the total last, for JSON: everything that was measured."""
    return [nested_record(name, entry) for name, entry in folder_rows(dataset)]


def nested_record(folder: str, entry: FolderStatistics) -> dict[str, Any]:
    """Return one folder's record.

    Frequency statistics are 8x8 lists in natural order [vertical, horizontal], None where there are no
    blocks.
    """
    return {
        "folder": folder,
        "files": entry.files,
        "failures": {
            "count": entry.failure_count,
            "kinds": dict(entry.failures.most_common()),
            "first": _named(entry.failed),
        },
        "bytes": entry.bytes,
        "megapixels": entry.pixels / 1e6,
        "bits_per_pixel": bits_per_pixel(entry),
        "process": dict(entry.processes.most_common()),
        "subsampling": dict(entry.samplings.most_common()),
        "color_space": dict(entry.color_spaces.most_common()),
        "icc": entry.icc,
        "exif": entry.exif,
        "rotated": entry.rotated,
        "damaged": entry.damaged,
        "quality": {
            "exact": int(entry.exact_qualities.sum()),
            "approximate": int(entry.approximate_qualities.sum()),
            "median": median_quality(entry.qualities),
            "histogram": histogram(entry.qualities),
        },
        "tables": len(entry.tables),
        "tables_complete": len(entry.tables) < MOST_TABLES,
        "primary_quality": {
            "found": int(entry.primary_qualities[1:].sum()),
            "none": int(entry.primary_qualities[0]),
            "median": median_quality(entry.primary_qualities),
            "histogram": histogram(entry.primary_qualities),
        },
        "odd": {
            "count": entry.odd_files,
            "kinds": dict(entry.oddities.most_common()),
            "first": _named(entry.odd),
        },
        "frequencies": {
            name: frequency_lists(entry.frequencies.statistics(plane)) for plane, name in enumerate(PLANES)
        },
    }


def flat_records(dataset: DatasetStatistics) -> list[dict[str, Any]]:
    """Return one record per folder, the total last, for CSV and Parquet: scalars, objects and lists of 64.

    Objects (counts by name) and lists are JSON, the former as text.

    The folders hold what is below them, so only rows of one depth add up.
    """
    return [flat_record(name, entry) for name, entry in folder_rows(dataset)]


def flat_record(folder: str, entry: FolderStatistics) -> dict[str, Any]:
    """Return one folder's record with a column for each frequency statistic (64 values, row by row)."""
    nested = nested_record(folder, entry)
    record: dict[str, Any] = {
        "folder": folder,
        "depth": 0 if folder == TOTAL else folder.count("/") + 1,
        "files": entry.files,
        "failures": entry.failure_count,
        "failure_kinds": json_text(nested["failures"]["kinds"]),
    }
    scalars = ("bytes", "megapixels", "bits_per_pixel", "icc", "exif", "rotated", "damaged", "tables")
    record.update({key: nested[key] for key in scalars})
    record.update({key: json_text(nested[key]) for key in ("process", "subsampling", "color_space")})
    for key in ("quality", "primary_quality"):
        for name, value in nested[key].items():
            record[f"{key}_{name}"] = json_text(value) if isinstance(value, dict) else value
    for plane, statistics in nested["frequencies"].items():
        for name, rows in statistics.items():
            record[f"{plane}_{name}"] = None if rows is None else [value for row in rows for value in row]
    return record


def bits_per_pixel(entry: FolderStatistics) -> float | None:
    """Return the bits of all files over the pixels of all files."""
    return 8 * entry.bytes / entry.pixels if entry.pixels else None


def histogram(counts: NDArray[np.integer]) -> dict[str, int]:
    """Return the filled bins 1..100 of (101,) counts by quality."""
    return {str(quality): int(counts[quality]) for quality in range(1, 101) if counts[quality]}


def median_quality(counts: NDArray[np.integer]) -> int | None:
    """Return the (lower) median quality of (101,) counts, index 0 left out; None of nothing."""
    cumulated = np.cumsum(counts[1:])
    if not cumulated[-1]:
        return None
    return int(np.searchsorted(cumulated, (cumulated[-1] + 1) // 2)) + 1


def summarize_counts(counts: Counter[str] | dict[str, int], most: int = 2) -> str:
    """Return the most frequent keys as text: "4:2:0 97 %, 4:4:4 3 %"; a lone key needs no share."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) <= 1:
        return ranked[0][0] if ranked else ""
    total = sum(counts.values())
    text = ", ".join(f"{key} {_percent(count, total)}" for key, count in ranked[:most])
    return text if len(ranked) <= most else f"{text}, {len(ranked) - most} more"


def summarize_qualities(counts: NDArray[np.integer], none: int = 0, most: int = 2) -> str:
    """Return the most frequent qualities of (101,) counts, and the share of `none`: "10 98 %, none 2 %"."""
    named = histogram(counts)
    if none:
        named["none"] = none
    return summarize_counts(named, most)


def frequency_lists(statistics: FrequencyStatistics) -> dict[str, list[list[float]] | None]:
    """Return each statistic as an 8x8 list, None where there are no blocks."""
    arrays = {field.name: getattr(statistics, field.name) for field in fields(statistics)}
    return {name: array.tolist() if np.isfinite(array).all() else None for name, array in arrays.items()}


def _named(files: Iterable[NamedFile]) -> list[dict[str, str]]:
    return [{"path": file.path, "reason": file.reason, "detail": file.detail} for file in files]


def _percent(count: int, total: int) -> str:
    share = 100 * count / total
    return "< 1 %" if 0 < share < 0.5 else f"{share:.0f} %"


@dataclass(frozen=True, slots=True)
class FolderColumn:
    """A column of the table that people read, and what it shows of a folder."""

    column: Column
    cell: Callable[[FolderStatistics], str]


def _number(title: str, rank: int, cell: Callable[[FolderStatistics], str]) -> FolderColumn:
    return FolderColumn(Column(title, numeric=True, rank=rank), cell)


COLUMNS = (
    FolderColumn(Column("folder", cut="middle"), lambda entry: entry.folder),
    _number("files", 1, lambda entry: f"{entry.files:,}"),
    _number("failed", 2, lambda entry: f"{entry.failure_count:,}" if entry.failure_count else ""),
    FolderColumn(
        Column("table quality", numeric=True, cut="end", rank=3),
        lambda entry: summarize_qualities(entry.qualities),
    ),
    _number("exact", 6, lambda entry: _share(int(entry.exact_qualities.sum()), entry.readable)),
    FolderColumn(
        Column("primary quality", numeric=True, cut="end", rank=4),
        lambda entry: _primary_quality(entry.primary_qualities),
    ),
    _number("MB", 5, lambda entry: size_in(1e6, entry.bytes)),
    _number("MP", 7, lambda entry: size_in(1e6, entry.pixels)),
    _number("bits/pixel", 6, lambda entry: f"{bits_per_pixel(entry) or 0:.2f}"),
    _number("tables", 9, lambda entry: f"{len(entry.tables):,}{'+' * (len(entry.tables) >= MOST_TABLES)}"),
    FolderColumn(Column("sampling", cut="end", rank=7), lambda entry: summarize_counts(entry.samplings)),
    FolderColumn(Column("process", cut="end", rank=8), lambda entry: summarize_counts(entry.processes)),
    _number("ICC", 9, lambda entry: _share(entry.icc, entry.readable)),
    _number("EXIF", 9, lambda entry: _share(entry.exif, entry.readable)),
)
"""What the table shows of each folder; the first column is the folder's name."""


def size_in(unit: float, size: float) -> str:
    """Return a size in a unit with one decimal, or with two significant digits where that would be 0.0."""
    value = size / unit
    return f"{value:,.1f}" if value >= 0.05 or not value else f"{value:.1g}"


def stats_table(dataset: DatasetStatistics, page: Page) -> str:
    """Return the table of the folders; columns that do not fit the page are left out."""
    rows = table_rows(dataset)
    return table_text([entry.column for entry in COLUMNS], rows, page, bold=[len(rows) - 1])


def table_rows(dataset: DatasetStatistics) -> list[list[str]]:
    """Return the cells of each folder's row, the total last."""
    return [[name, *(entry.cell(folder) for entry in COLUMNS[1:])] for name, folder in folder_rows(dataset)]


def _share(count: int, total: int) -> str:
    return _percent(count, total) if total else ""


def _primary_quality(counts: NDArray[np.integer]) -> str:
    return summarize_qualities(counts, none=int(counts[0])) if counts.sum() else ""
