"""The quantisation tables of T.81 Annex K, scaled by quality as the Independent JPEG Group's encoders do."""

import numpy as np
from numpy.typing import NDArray

QUALITIES = np.arange(1, 101)
"""(100,) every quality that an IJG encoder takes."""

LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.uint16,
)
"""(8, 8) T.81 Table K.1, natural order [vertical frequency, horizontal frequency]; IJG's quality 50."""

CHROMINANCE = np.array(
    [
        [17, 18, 24, 47, 99, 99, 99, 99],
        [18, 21, 26, 66, 99, 99, 99, 99],
        [24, 26, 56, 99, 99, 99, 99, 99],
        [47, 66, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
    ],
    dtype=np.uint16,
)
"""(8, 8) T.81 Table K.2, natural order; IJG's quality 50."""


def quality_scaling(quality: int) -> int:
    """Return the percentage by which a quality of 1..100 scales the Annex K tables.

    As jpeg_quality_scaling in libjpeg's jcparam.c; ValueError outside 1..100.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1..100, not {quality}")
    return 5000 // quality if quality < 50 else 200 - 2 * quality


def scaled_table(base: NDArray[np.uint16], quality: int, *, baseline: bool = True) -> NDArray[np.uint16]:
    """Scale an Annex K table as jpeg_add_quant_table does (libjpeg, jcparam.c).

    Args:
        base: (8, 8) `LUMINANCE` or `CHROMINANCE`.
        quality: 1..100.
        baseline: whether steps end at 255, as the baseline process demands and most encoders keep to;
            otherwise they end at 32767, which 16-bit tables hold.

    Returns:
        (8, 8) uint16 quantisation steps.

    Raises:
        ValueError: the quality is not 1..100.
    """
    steps = (base.astype(np.int64) * quality_scaling(quality) + 50) // 100
    return np.clip(steps, 1, 255 if baseline else 32767).astype(np.uint16)


def all_scaled_tables(base: NDArray[np.uint16], *, baseline: bool = True) -> NDArray[np.uint16]:
    """Return (100, 8, 8) uint16: `scaled_table` of each quality, index 0 for quality 1."""
    return np.stack([scaled_table(base, int(quality), baseline=baseline) for quality in QUALITIES])
