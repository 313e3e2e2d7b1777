"""A drift measurement as files: the data of each block as CSV or Parquet, and a figure."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dctafd.analysis.drift import DriftMeasurement
from dctafd.analysis.drift_summary import average_ranks, block_columns, drift_curves, rank_correlation
from dctafd.analysis.plots import COLORS, MARKERS, figure_text, heat_map, new_figure, save_figure
from dctafd.extras import require_extra
from dctafd.files import atomic_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN_CHANNELS = 20
_RANK_BINS = 20


def save_blocks(measurement: DriftMeasurement, path: Path) -> None:
    """Write one row per block to a .csv or .parquet file.

    Raises:
        ValueError: another suffix.
        MissingExtraError: pyarrow is not installed.
    """
    columns = block_columns(measurement)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        with atomic_output(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            rows = zip(*(column.tolist() for column in columns.values()), strict=True)
            while chunk := list(islice(rows, 10_000)):
                writer.writerows(chunk)
    elif suffix == ".parquet":
        require_extra("parquet")
        import pyarrow
        from pyarrow import parquet

        with atomic_output(path, binary=True) as file:
            parquet.write_table(pyarrow.table(columns), file)
    else:
        raise ValueError(f"{path.name}: the data of the blocks is written as .csv or .parquet")


def save_drift_figure(measurement: DriftMeasurement, path: Path) -> None:
    """Draw the curves, the drift of frequencies and channels, and the FDM against the measured drift.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with new_figure(11, 8, rows=2, columns=2) as (figure, axes):
        model = figure_text(measurement.model, 60)
        figure.suptitle(f"Drift of {model}, {len(measurement.photos)} photos", x=0.01, ha="left")
        _draw_curves(axes[0, 0], measurement)
        worst = int(np.argmin(measurement.qualities))
        heat_map(
            axes[0, 1],
            measurement.frequency_drift[worst, 0],
            f"drift of Y coefficients at quality {measurement.qualities[worst]} (RMS, DCT units)",
        )
        _draw_channels(axes[1, 0], measurement)
        _draw_prediction(axes[1, 1], measurement)
        save_figure(figure, path)


def _draw_curves(axes: Axes, measurement: DriftMeasurement) -> None:
    for curve, color, marker in zip(drift_curves(measurement), COLORS, MARKERS, strict=False):
        axes.plot(
            curve.coefficient_angle,
            curve.feature_angle,
            color=color,
            marker=marker,
            ms=3.5,
            lw=1.2,
            label=f"quality {curve.quality}",
        )
    axes.set(
        title="feature drift over coefficient drift, a point for every 2 degrees",
        xlabel="DA: angle between 192-vectors of coefficients (degrees)",
        ylabel="FA: angle between stem features (degrees)",
        xlim=(0, None),
        ylim=(0, None),
    )
    axes.legend()


def _draw_channels(axes: Axes, measurement: DriftMeasurement) -> None:
    """Draw the channels that drift most at the lowest quality, at every quality."""
    worst = int(np.argmin(measurement.qualities))
    order = np.argsort(measurement.channel_drift[worst])[::-1][:_SHOWN_CHANNELS]
    for index, (color, marker) in enumerate(zip(COLORS, MARKERS, strict=False)):
        if index == len(measurement.qualities):
            break
        drift = measurement.channel_drift[index, order]
        label = f"quality {measurement.qualities[index]}"
        axes.plot(np.arange(len(order)), drift, color=color, marker=marker, ms=3.5, lw=0, label=label)
    axes.set_xticks(np.arange(len(order)), [str(channel) for channel in order], rotation=90, fontsize=7)
    axes.set(
        title=f"the {len(order)} of {measurement.channel_drift.shape[1]} stem channels that drift most",
        xlabel="channel",
        ylabel="RMS difference over the channel's RMS",
        ylim=(0, None),
    )


def _draw_prediction(axes: Axes, measurement: DriftMeasurement) -> None:
    """Draw the mean measured drift of blocks of equal rank of predicted drift (or of coefficient angle)."""
    predicted = measurement.predicted_drift
    by_fdm = predicted is not None
    predictor = predicted if predicted is not None else measurement.coefficient_angles
    for index, (color, marker) in enumerate(zip(COLORS, MARKERS, strict=False)):
        if index == len(measurement.qualities):
            break
        drift = measurement.measured_drift[index].ravel()
        ranks = average_ranks(predictor[index].ravel()) / drift.size
        bins = np.minimum((ranks * _RANK_BINS).astype(np.int64), _RANK_BINS - 1)
        blocks = np.bincount(bins, minlength=_RANK_BINS)
        filled = np.flatnonzero(blocks)
        means = np.bincount(bins, drift, minlength=_RANK_BINS)[filled] / blocks[filled]
        rho = rank_correlation(predictor[index], measurement.measured_drift[index])
        label = f"quality {measurement.qualities[index]}, rank correlation {rho:.2f}"
        centres = 100 * (filled + 0.5) / _RANK_BINS
        axes.plot(centres, means, color=color, marker=marker, ms=3.5, lw=1.2, label=label)
    name = "FDM channel 0" if by_fdm else "coefficient angle DA (no AFD-Module here)"
    axes.set(
        title=f"measured drift by {name}",
        xlabel=f"blocks by rank of {'predicted drift' if by_fdm else 'DA'} (%)",
        ylabel="measured drift (RMS over clean RMS)",
        xlim=(0, 100),
        ylim=(0, None),
    )
    axes.legend(fontsize=7)
