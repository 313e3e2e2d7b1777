"""Every photo's scores as a table, so that others can do their own statistics: `save_per_photo`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dctafd.analysis.photo_scores import NetworkScore
from dctafd.batch.formats import Csv, JsonLines, Record, TextFormat
from dctafd.extras import require_extra
from dctafd.files import atomic_output

if TYPE_CHECKING:
    from dctafd.analysis.evaluation import Evaluation

PER_PHOTO_SUFFIXES = (".jsonl", ".csv", ".parquet")

_TYPES = {
    **dict.fromkeys(("file", "folder", "wanted_name", "error"), "string"),
    **dict.fromkeys(("wanted", "direct_best", "direct_rank", "afd_best", "afd_rank"), "int32"),
    **dict.fromkeys(("quality", "times", "table_quality", "primary_quality"), "int16"),
}
"""Arrow's types of the columns that are no float64."""


def check_per_photo_file(path: Path) -> None:
    """Say beforehand what would keep `save_per_photo` from writing a file.

    Raises:
        ValueError: another suffix than `PER_PHOTO_SUFFIXES`, or no such folder.
        MissingExtraError: a Parquet file without pyarrow.
    """
    if path.suffix.lower() not in PER_PHOTO_SUFFIXES:
        raise ValueError(f"{path.name} does not end in {', '.join(PER_PHOTO_SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"the directory {str(path.parent)!r} does not exist")
    if path.suffix.lower() == ".parquet":
        require_extra("parquet")


def per_photo_records(evaluation: Evaluation, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a row per photo and condition; ranks count from 0, scores are probabilities of the wanted class.

    The wanted class is the label, or the classifier's answer on the uncompressed photo. A row with neither
    `quality` nor `times` is of the photo as it is. A photo that failed has one row with its `error`.
    """
    names = [entry.name for entry in fields(NetworkScore)]
    if evaluation.measure == "accuracy":
        names = names[:3]
    empty = dict.fromkeys(
        ["quality", "times", "table_quality", "primary_quality"]
        + [f"{network}_{name}" for network in ("direct", "afd") for name in names]
        + ["drift"]
    )
    for photo in evaluation.photos:
        facts = {
            "file": photo.name,
            "folder": photo.folder or None,
            "wanted": photo.wanted,
            "wanted_name": None if photo.wanted is None else labels[photo.wanted],
        }
        if photo.failure is not None:
            yield {**facts, **empty, "error": f"{photo.failure.type}: {photo.failure.message}"}
        for condition, score in zip(evaluation.conditions, photo.scores, strict=False):
            found = {
                "quality": condition.quality,
                "times": condition.times,
                "table_quality": score.table_quality,
                "primary_quality": score.primary_quality,
                "drift": score.drift,
                "error": None,
            }
            for network, answer in (("direct", score.uncorrected), ("afd", score.afd)):
                if answer is not None:
                    found |= {f"{network}_{name}": getattr(answer, name) for name in names}
            yield {**facts, **empty, **found}


def save_per_photo(evaluation: Evaluation, labels: Sequence[str], path: Path) -> None:
    """Write `per_photo_records` to a .jsonl, .csv or .parquet file, whole or not at all.

    Raises:
        ValueError, MissingExtraError: as `check_per_photo_file`.
        OSError: the file cannot be written.
    """
    check_per_photo_file(path)
    records = per_photo_records(evaluation, labels)
    if path.suffix.lower() == ".parquet":
        _save_parquet(list(records), path)
        return
    first = next(records)
    layout: TextFormat[Record] = (
        JsonLines(dict) if path.suffix.lower() == ".jsonl" else Csv(list(first), dict)
    )
    with atomic_output(path) as file:
        file.write(layout.begin() + layout.batch([first]))
        for record in records:
            file.write(layout.batch([record]))
        file.write(layout.end())


def _save_parquet(records: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = {name: getattr(pa, _TYPES.get(name, "float64"))() for name in records[0]}
    with atomic_output(path, binary=True) as file:
        parquet.write_table(pa.Table.from_pylist(records, pa.schema(list(types.items()))), file)
