"""The statistics of `dctafd dataset-stats` in jpeglib and NumPy, one file after the other.

What someone without dctafd would write; tests/analysis/test_dataset_stats.py takes it as the oracle and
tools/benchmarks/benchmark.py as the opponent. The judgement of qualities, which has no counterpart there, is
left out.
"""

import os
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np

STATISTICS = ("zeros", "sums", "magnitudes", "squares", "laplacian_scales", "entropies")


def component_sums(coefficients: np.ndarray, table: np.ndarray) -> dict[str, np.ndarray]:
    """Return (64,) sums over one component's blocks, with the meaning of `dctafd.analysis.frequency_sums`.

    Args:
        coefficients: (rows, columns, 8, 8) int16, quantised.
        table: (8, 8) quantisation steps.
    """
    quantised = coefficients.reshape(-1, 64)
    steps = table.reshape(64).astype(np.float64)
    values = quantised * steps
    blocks = len(values)
    magnitudes = np.abs(values)
    mean = np.abs(quantised.astype(np.int64)).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (np.sqrt(1 + 4 * mean**2) - 1) / (2 * mean)
        scales = np.where(mean > 0, -steps / (2 * np.log(root)), 0.0)
    return {
        "zeros": np.count_nonzero(quantised == 0, axis=0),
        "sums": values.sum(axis=0),
        "magnitudes": magnitudes.sum(axis=0),
        "squares": (values**2).sum(axis=0),
        "laplacian_scales": blocks * scales,
        "entropies": blocks * np.array([entropy(column) for column in quantised.T]),
    }


def entropy(values: np.ndarray) -> float:
    """Return the entropy in bits of the magnitudes of quantised values, and one bit for each sign."""
    counts = np.bincount(np.abs(values.astype(np.int64)))
    shares = counts[counts > 0] / len(values)
    return float(-np.sum(shares * np.log2(shares)) + np.mean(values != 0))


def file_sums(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what one file adds: size, pixels, whether it is progressive, and sums of (2, 64)."""
    jpeg = jpeglib.read_dct(str(path))
    result: dict[str, Any] = {name: np.zeros((2, 64)) for name in STATISTICS}
    result["blocks"] = np.zeros(2, dtype=np.int64)
    planes = [(0, jpeg.Y, 0)]
    if jpeg.has_chrominance:
        planes += [(1, jpeg.Cb, 1), (1, jpeg.Cr, 2)]
    for plane, coefficients, number in planes:
        table = jpeg.qt[jpeg.quant_tbl_no[number]]
        result["blocks"][plane] += coefficients.shape[0] * coefficients.shape[1]
        for name, sums in component_sums(coefficients, table).items():
            result[name][plane] += sums
    result["bytes"] = os.path.getsize(path)
    result["pixels"] = jpeg.width * jpeg.height
    result["progressive"] = bool(jpeg.progressive_mode)
    return result


def directory_sums(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the sums over every JPEG file below a directory, one file after the other."""
    paths = sorted(path for path in Path(directory).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    totals: dict[str, Any] = {"files": 0}
    for path in paths:
        for name, value in file_sums(path).items():
            totals[name] = totals.get(name, 0) + value
        totals["files"] += 1
    return totals
