"""What a drift measurement says: feature over coefficient drift, correlations, what drifts most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dctafd.analysis.drift import DriftMeasurement

PLANE_NAMES = ("Y", "Cb", "Cr")
LEAST_BLOCKS = 20
"""Blocks that a point of the curve must stand for."""


@dataclass(frozen=True, slots=True, eq=False)
class DriftCurve:
    """Feature drift over coefficient drift at one quality (the paper's Fig. 4).

    Attributes:
        quality: of the compression.
        coefficient_angle: (m,) degrees, middles of the bins.
        feature_angle: (m,) degrees, means over the blocks of each bin.
        blocks: (m,) int64 blocks of each bin, `LEAST_BLOCKS` at least.
    """

    quality: int
    coefficient_angle: NDArray[np.float64]
    feature_angle: NDArray[np.float64]
    blocks: NDArray[np.int64]


def drift_curves(measurement: DriftMeasurement, width: float = 2.0) -> list[DriftCurve]:
    """Return a curve per quality, with bins of `width` degrees of coefficient angle."""
    curves = []
    for index, quality in enumerate(measurement.qualities):
        bins = (measurement.coefficient_angles[index].ravel() / width).astype(np.int64)
        blocks = np.bincount(bins)
        sums = np.bincount(bins, measurement.feature_angles[index].ravel())
        kept = np.flatnonzero(blocks >= LEAST_BLOCKS)
        middles = ((kept + 0.5) * width).astype(np.float64)
        curves.append(DriftCurve(int(quality), middles, sums[kept] / blocks[kept], blocks[kept]))
    return curves


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two arrays of one shape; NaN where one is constant."""
    ranks_a, ranks_b = average_ranks(a.ravel()), average_ranks(b.ravel())
    if ranks_a.std() == 0 or ranks_b.std() == 0:
        return float("nan")
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def average_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the ranks of (n,) values from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]


def summary_records(measurement: DriftMeasurement, most: int = 5) -> list[dict[str, Any]]:
    """Return one record per quality: means, correlations, and the frequencies and channels that drift most.

    `fdm_rank_correlation` is None without an AFD-Module (or where its prediction is constant).
    """
    records = []
    predicted = measurement.predicted_drift
    for index, quality in enumerate(measurement.qualities):
        drift = measurement.measured_drift[index]
        fdm = float("nan") if predicted is None else rank_correlation(predicted[index], drift)
        angles = measurement.coefficient_angles[index], measurement.feature_angles[index]
        records.append(
            {
                "model": measurement.model,
                "quality": int(quality),
                "photos": len(measurement.photos),
                "blocks": int(drift.size),
                "coefficient_angle": float(angles[0].mean()),
                "feature_angle": float(angles[1].mean()),
                "measured_drift": float(drift.mean()),
                "predicted_drift": None if predicted is None else float(predicted[index].mean()),
                "angle_rank_correlation": _number(rank_correlation(*angles)),
                "fdm_rank_correlation": _number(fdm),
                "top_frequencies": _top_frequencies(measurement.frequency_drift[index], most),
                "top_channels": _top_channels(measurement.channel_drift[index], most),
            }
        )
    return records


def table_records(measurement: DriftMeasurement) -> list[dict[str, Any]]:
    """Return one short record a quality, for people."""
    records = []
    for record in summary_records(measurement, most=3):
        frequencies = [
            f"{entry['plane']}({entry['frequency'][0]},{entry['frequency'][1]})"
            for entry in record["top_frequencies"]
        ]
        records.append(
            {
                "quality": record["quality"],
                "blocks": record["blocks"],
                "DA (deg)": record["coefficient_angle"],
                "FA (deg)": record["feature_angle"],
                "DA~FA": record["angle_rank_correlation"],
                "drift": record["measured_drift"],
                "FDM": record["predicted_drift"],
                "FDM~drift": record["fdm_rank_correlation"],
                "frequencies that drift most": " ".join(frequencies),
                "channels": " ".join(str(entry["channel"]) for entry in record["top_channels"]),
            }
        )
    return records


def curve_records(measurement: DriftMeasurement) -> list[dict[str, Any]]:
    """Return one record a point of the curves."""
    return [
        {
            "quality": curve.quality,
            "coefficient_angle": float(x),
            "feature_angle": float(y),
            "blocks": int(n),
        }
        for curve in drift_curves(measurement)
        for x, y, n in zip(curve.coefficient_angle, curve.feature_angle, curve.blocks, strict=True)
    ]


def block_columns(measurement: DriftMeasurement) -> dict[str, NDArray]:
    """Return the measurement as columns of one row per block: the data behind every figure."""
    shape = measurement.coefficient_angles.shape
    quality, photo, row, column = (index.ravel() for index in np.indices(shape, dtype=np.int32))
    columns: dict[str, NDArray] = {
        "photo": np.asarray(measurement.photos)[photo],
        "quality": measurement.qualities[quality].astype(np.int32),
        "row": row,
        "column": column,
        "coefficient_angle": measurement.coefficient_angles.ravel(),
        "feature_angle": measurement.feature_angles.ravel(),
        "measured_drift": measurement.measured_drift.ravel(),
    }
    if measurement.predicted_drift is not None:
        columns["predicted_drift"] = measurement.predicted_drift.ravel()
    return columns


def _top_frequencies(drift: NDArray[np.float64], most: int) -> list[dict[str, Any]]:
    """Return the coefficients of (3, 8, 8) with the largest RMS difference."""
    order = np.argsort(drift, axis=None)[::-1][:most]
    places = zip(*np.unravel_index(order, drift.shape), strict=True)
    return [
        {
            "plane": PLANE_NAMES[plane],
            "frequency": [int(v), int(u)],
            "rms": round(float(drift[plane, v, u]), 3),
        }
        for plane, v, u in places
    ]


def _top_channels(drift: NDArray[np.float64], most: int) -> list[dict[str, Any]]:
    order = np.argsort(drift)[::-1][:most]
    return [{"channel": int(channel), "relative_drift": round(float(drift[channel]), 4)} for channel in order]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
