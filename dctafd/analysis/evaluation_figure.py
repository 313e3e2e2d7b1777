"""Draw an evaluation: top-1 accuracy over the compression, with and without the AFD-Module."""

from __future__ import annotations

from pathlib import Path

from dctafd.analysis.evaluate import Evaluation, EvaluationRow
from dctafd.analysis.plots import COLORS, figure_text, new_figure, save_figure


def plot_evaluation(evaluation: Evaluation, path: str | Path) -> None:
    """Write a figure (.png, .pdf, .svg) of an evaluation's rows, with the gain's 95 % interval.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: another suffix.
        OSError: the file cannot be written.
    """
    rows = evaluation.rows
    positions = range(len(rows))
    with new_figure(6, 4) as (figure, grid):
        axes = grid[0, 0]
        axes.axhline(evaluation.clean.direct_top1, color="gray", linestyle="--", label="clean photos")
        axes.plot(positions, [row.direct_top1 for row in rows], "o-", color=COLORS[1], label="uncorrected")
        if rows and rows[0].afd_top1 is not None:
            corrected = [row.afd_top1 or 0.0 for row in rows]
            axes.plot(positions, corrected, "s-", color=COLORS[0], label="with AFD-Module")
            axes.errorbar(positions, corrected, _interval(rows), fmt="none", color=COLORS[0], capsize=3)
        axes.set_xticks(positions, [figure_text(_name(row), 30) for row in rows])
        axes.set(
            xlabel="compressions" if evaluation.protocol == "repeated" else "JPEG quality",
            ylabel="top-1 accuracy (%)",
            title=f"{figure_text(evaluation.model, 40)}, {evaluation.images} photos, {evaluation.protocol}",
        )
        axes.legend()
        save_figure(figure, path)


def _interval(rows: tuple[EvaluationRow, ...]) -> list[list[float]]:
    """Return the lengths of the error bars below and above, [(rows,), (rows,)]."""
    below = [(row.top1_gain or 0) - (row.top1_gain_low or 0) for row in rows]
    above = [(row.top1_gain_high or 0) - (row.top1_gain or 0) for row in rows]
    return [[max(length, 0.0) for length in lengths] for lengths in (below, above)]


def _name(row: EvaluationRow) -> str:
    if row.times is not None:
        return str(row.times)
    return "stored" if row.quality is None else str(row.quality)
