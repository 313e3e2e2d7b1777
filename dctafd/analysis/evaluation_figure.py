"""Draw an evaluation: top-1 over the compression with 95 % bands, and photos whose answers changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dctafd.analysis.drift_picture import draw_answers
from dctafd.analysis.evaluation_examples import examples
from dctafd.analysis.plots import COLORS, MARKERS, figure_text, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dctafd.analysis.evaluation import Evaluation
    from dctafd.analysis.evaluation_rows import EvaluationRow
    from dctafd.analysis.evaluation_task import EvaluationTask

_NAMED_ROWS = 8  # up to so many folders are named below the axis upright


def plot_evaluation(evaluation: Evaluation, path: str | Path, task: EvaluationTask | None = None) -> None:
    """Write a figure (.png, .pdf, .svg) of an evaluation's rows, and of photos whose answers it is about.

    Args:
        evaluation: what was measured.
        path: of the figure.
        task: what measured it; with it, photos are shown whose answer the module changes most in the row
            where most is lost: two for the better, one for the worse, if there are such.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    photos = [] if task is None else examples(task, evaluation)
    with new_figure(11.0, 4.2 + 3.4 * len(photos), rows=1 + len(photos), columns=3) as (figure, axes):
        grid = axes[0, 0].get_gridspec()
        grid.set_width_ratios((1.2, 1.2, 1.4))
        for ax in axes[0]:
            ax.remove()
        _draw_rows(figure.add_subplot(grid[0, :]), evaluation)
        for row, example in zip(axes[1:], photos, strict=True):
            draw_answers(row, example.seen, figure_text(example.title, 44), example.wanted)
        save_figure(figure, path)


def _draw_rows(axes: Axes, evaluation: Evaluation) -> None:
    rows = evaluation.rows
    axes.grid(True, axis="both")
    clean = None if evaluation.clean is None else evaluation.clean.direct_top1
    if clean is not None and evaluation.measure == "accuracy":
        axes.axhline(clean, color="gray", linestyle="--", lw=1, label="uncompressed")
    _draw_band(axes, rows, "direct", 1, "without the AFD-Module")
    if rows[0].afd_top1 is not None:
        _draw_band(axes, rows, "afd", 0, "with the AFD-Module")
    parents = {(row.folder or "").rpartition("/")[0] for row in rows}
    common = parents.pop() if len(parents) == 1 else ""
    names = [figure_text(_name(row).removeprefix(f"{common}/"), 30) for row in rows]
    turned = len(names) > _NAMED_ROWS or max(map(len, names)) > 12
    axes.set_xticks(
        range(len(rows)), names, rotation=40 if turned else 0, ha="right" if turned else "center",
    )  # fmt: skip
    folder = f"folder in {figure_text(common, 40)}" if common else "folder"
    xlabel = {"repeated": "compressions", "stored": folder}.get(evaluation.protocol, "JPEG quality")
    agrees = "same answer as on the uncompressed photo (%)"
    axes.set(xlabel=xlabel, ylabel="top-1 accuracy (%)" if evaluation.measure == "accuracy" else agrees)
    model, protocol = figure_text(evaluation.model, 40), evaluation.protocol
    axes.set_title(f"{model}, {evaluation.images} photos, protocol {protocol}; bands: 95 %")
    axes.legend()


def _draw_band(axes: Axes, rows: Sequence[EvaluationRow], network: str, number: int, label: str) -> None:
    """Draw a line and its interval; rows one behind the other."""
    middle, low, high = (
        [getattr(row, f"{network}_top1{ending}") for row in rows] for ending in ("", "_low", "_high")
    )
    positions = range(len(rows))
    axes.fill_between(positions, low, high, color=COLORS[number], alpha=0.15, lw=0)
    axes.plot(positions, middle, color=COLORS[number], marker=MARKERS[number], label=label)


def _name(row: EvaluationRow) -> str:
    if row.times is not None:
        return str(row.times)
    return (row.folder or "all") if row.quality is None else str(row.quality)
