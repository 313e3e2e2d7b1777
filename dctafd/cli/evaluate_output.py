"""An evaluation as rows: all figures for CSV, the ones that are read for the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dctafd.analysis.evaluation import Evaluation
    from dctafd.analysis.evaluation_rows import EvaluationRow


def evaluation_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one record per row with all its figures: first the uncompressed photos, last the means."""
    records = []
    for name, row in _named_rows(evaluation):
        record = row.to_dict()
        del record["quality"]
        records.append({"row": name, "quality": row.quality, **record})
    return records


def table_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one record per row with what people look at; its keys are the table's headings."""
    top1, top5 = ("top-1", "top-5") if evaluation.measure == "accuracy" else ("agrees", "of best 5")
    heading = {"stored": "folder", "repeated": "times"}.get(evaluation.protocol, "quality")
    records = []
    for name, row in _named_rows(evaluation):
        record: dict[str, Any] = {heading: name, "photos": row.photos}
        if evaluation.protocol == "stored":
            record["quality"] = _qualities(row)
        record[top1] = _rounded(row.direct_top1, 1)
        record[f"{top1} AFD"] = _rounded(row.afd_top1, 1)
        record["gain (95 %)"] = _gain(row)
        record["regained"] = None if row.regained is None else f"{row.regained:.0f} %"
        record[top5] = _rounded(row.direct_top5, 1)
        record[f"{top5} AFD"] = _rounded(row.afd_top5, 1)
        record["KL"] = _rounded(row.direct_kl, 3)
        record["KL AFD"] = _rounded(row.afd_kl, 3)
        record["paper"] = _rounded(row.paper_direct_top1, 1)
        record["paper AFD"] = _rounded(row.paper_afd_top1, 1)
        record["paper gain"] = None
        if row.paper_afd_top1 is not None and row.paper_direct_top1 is not None:
            record["paper gain"] = f"{row.paper_afd_top1 - row.paper_direct_top1:+.1f}"
        records.append(record)
    empty = {key for key in records[0] if all(record.get(key) in (None, "") for record in records)}
    return [{key: value for key, value in record.items() if key not in empty} for record in records]


def _named_rows(evaluation: Evaluation) -> list[tuple[str, EvaluationRow]]:
    rows = [] if evaluation.clean is None else [("clean", evaluation.clean)]
    rows += [(_name(row), row) for row in evaluation.rows]
    return rows + [(f"mean of {row.folder}" if row.folder else "mean", row) for row in evaluation.means]


def _name(row: EvaluationRow) -> str:
    if row.times is not None:
        return str(row.times)
    return (row.folder or "all") if row.quality is None else str(row.quality)


def _qualities(row: EvaluationRow) -> str:
    """Return the tables' quality, behind that of an earlier compression, as `dctafd classify` shows them."""
    known = [value for value in (row.primary_quality, row.table_quality) if value is not None]
    return " > ".join(f"{value:.0f}" for value in known)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _gain(row: EvaluationRow) -> str | None:
    if row.top1_gain is None:
        return None
    if row.top1_gain_low is None or row.top1_gain_high is None:
        return f"{row.top1_gain:+.1f}"
    return f"{row.top1_gain:+.1f} ({row.top1_gain_low:+.1f}..{row.top1_gain_high:+.1f})"
