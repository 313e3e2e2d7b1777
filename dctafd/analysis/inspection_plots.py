"""One file's compression as a picture: photo, tables, histograms, and the drift map of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dctafd.analysis.drift_map import DriftMap
from dctafd.analysis.drift_picture import draw_answers
from dctafd.analysis.inspection import CoefficientHistogram, Inspection
from dctafd.analysis.plots import COLORS, figure_text, heat_map, new_figure, save_figure
from dctafd.jpeg.pixels import decode

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

_HISTOGRAM_REACH = 40


def save_inspection_plot(
    inspection: Inspection, path: Path, title: str, drift: DriftMap | None = None
) -> None:
    """Draw an inspection to a PNG, SVG or PDF file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows = 3 if drift is None else 4
    with new_figure(11, 3.6 * rows, rows=rows, columns=3) as (figure, axes):
        figure.suptitle(figure_text(title), x=0.01, ha="left", fontsize=12)
        _draw_photo(axes[0, 0], inspection)
        _draw_tables(axes[0, 1], axes[0, 2], inspection)
        for ax, histogram in zip(axes[1:3].flat, inspection.histograms, strict=True):
            _draw_histogram(ax, histogram, inspection)
        if drift is not None:
            draw_answers(axes[3], drift)
        save_figure(figure, path)


def _draw_photo(axes: Axes, inspection: Inspection) -> None:
    jpeg = inspection.jpeg
    axes.imshow(decode(jpeg))
    for tail in inspection.blank_tails[:1]:
        y = tail.row * 8 * max(component.v for component in jpeg.components) // jpeg.components[0].v
        axes.axhline(y, color=COLORS[1], lw=2)
        axes.text(2, y, "no data from here on", color=COLORS[1], va="bottom", fontsize=8)
    quality, history = inspection.quality, inspection.history
    exact = "exactly" if quality.exact else f"about, residual {quality.residual:.1f} steps"
    before = f"; before that {history.primary_quality}" if history.primary_quality else ""
    size = f"{jpeg.width}x{jpeg.height} pixels, {jpeg.subsampling}"
    axes.set(title=f"{size}\nquality {quality.value} ({exact}){before}")
    axes.set_axis_off()


def _draw_tables(left: Axes, right: Axes, inspection: Inspection) -> None:
    components = inspection.jpeg.components
    first = components[0]
    heat_map(left, first.quant_table.astype(float), f"quantisation steps of {first.name}", logarithmic=True)
    if len(components) > 1:
        second = components[1]
        heat_map(
            right, second.quant_table.astype(float), f"quantisation steps of {second.name}", logarithmic=True
        )
    else:
        right.set_axis_off()


def _draw_histogram(axes: Axes, histogram: CoefficientHistogram, inspection: Inspection) -> None:
    """Draw the dequantised values near zero, zero itself left out where it would dwarf the others."""
    v, u = histogram.frequency
    is_dc = (v, u) == (0, 0)
    near = np.abs(histogram.values) <= (histogram.values.size if is_dc else _HISTOGRAM_REACH)
    values, counts = histogram.values[near] * histogram.step, histogram.counts[near]
    axes.bar(values, counts, 0.9 * histogram.step, color=COLORS[0])
    others = counts[values != 0]
    if not is_dc and others.size and counts.max() > 3 * others.max() > 0:
        axes.set_ylim(0, 1.3 * others.max())
        axes.text(
            0.98, 0.98, f"zeros: {histogram.zero_rate:.0%}", transform=axes.transAxes, ha="right", va="top"
        )
    steps = inspection.history.primary_steps
    first = int(steps[v, u]) if steps is not None and inspection.history.primary_quality else 0
    earlier = f", earlier step {first}" if first else ""
    axes.set(
        title=f"frequency ({v}, {u}), step {histogram.step}{earlier}",
        xlabel="dequantised coefficient",
        ylabel="blocks",
    )
