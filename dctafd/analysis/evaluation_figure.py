"""Draw an evaluation: top-1 accuracy over the compression, with and without the AFD-Module."""

from __future__ import annotations

from pathlib import Path

from dctafd.analysis.evaluate import Evaluation, EvaluationRow
from dctafd.errors import MissingExtraError


def plot_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write a figure (.png, .pdf, .svg) of an evaluation's rows, with the gain's 95 % interval.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "plot") from error
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = evaluation.rows
    positions = range(len(rows))
    axes.axhline(evaluation.clean.direct_top1, color="gray", linestyle="--", label="clean photos")
    axes.plot(positions, [row.direct_top1 for row in rows], "o-", color="tab:red", label="direct")
    if rows[0].afd_top1 is not None:
        corrected = [row.afd_top1 or 0.0 for row in rows]
        axes.plot(positions, corrected, "s-", color="tab:blue", label="with AFD-Module")
        axes.errorbar(positions, corrected, _interval(rows), fmt="none", color="tab:blue", capsize=3)
    axes.set_xticks(positions, [_name(row) for row in rows])
    axes.set_xlabel("compressions" if evaluation.protocol == "repeated" else "JPEG quality")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.set_title(f"{evaluation.model}, {evaluation.images} photos, protocol {evaluation.protocol}")
    axes.legend()
    figure.savefig(path, dpi=150)


def _interval(rows: tuple[EvaluationRow, ...]) -> list[list[float]]:
    """Return the lengths of the error bars below and above, [(rows,), (rows,)]."""
    below = [(row.top1_gain or 0) - (row.top1_gain_low or 0) for row in rows]
    above = [(row.top1_gain_high or 0) - (row.top1_gain or 0) for row in rows]
    return [[max(length, 0.0) for length in lengths] for lengths in (below, above)]


def _name(row: EvaluationRow) -> str:
    if row.times is not None:
        return str(row.times)
    return "stored" if row.quality is None else str(row.quality)
