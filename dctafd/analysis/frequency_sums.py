"""Statistics of DCT coefficients, frequency by frequency, as sums that merge."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import Component
from dctafd_native.histogram import add_frequency_sums

PLANES = ("luma", "chroma")
"""The planes that are told apart: Y (and gray), and Cb and Cr together."""

_PLANE_OF_NAME = {"Y": 0, "Cb": 1, "Cr": 1}
_MAGNITUDES = 2056  # 2047 is the largest of 8-bit JPEG; no power of two, see the kernel
_of_thread = threading.local()


@dataclass(frozen=True, slots=True, eq=False)
class FrequencyStatistics:
    """Statistics of one plane, each (8, 8) float64 in natural order; NaN where there were no blocks.

    Attributes:
        zero_rate: share of coefficients that are zero, 0..1.
        mean_magnitude: mean absolute dequantised coefficient.
        deviation: standard deviation of the dequantised coefficients.
        laplacian_scale: mean over the files (weighted by blocks) of the scale b of the Laplacian density
            that the quantised coefficients point to; not biased by the zero bin as the mean magnitude is.
        entropy: mean over the files (weighted by blocks) of the entropy of the quantised coefficients, bits.
    """

    zero_rate: NDArray[np.float64]
    mean_magnitude: NDArray[np.float64]
    deviation: NDArray[np.float64]
    laplacian_scale: NDArray[np.float64]
    entropy: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FrequencySums:
    """Sums over blocks for luma and chroma.

    Attributes:
        blocks: (2,) int64 blocks of each plane.
        zeros: (2, 64) int64 coefficients that are zero.
        sums, magnitudes, squares: (2, 64) float64 sums of the dequantised coefficients, of their magnitudes
            and of their squares.
        laplacian_scales, entropies: (2, 64) float64 sums over files of a file's value times its blocks.
    """

    blocks: NDArray[np.int64]
    zeros: NDArray[np.int64]
    sums: NDArray[np.float64]
    magnitudes: NDArray[np.float64]
    squares: NDArray[np.float64]
    laplacian_scales: NDArray[np.float64]
    entropies: NDArray[np.float64]

    @classmethod
    def empty(cls) -> FrequencySums:
        """Return the sums over nothing."""
        floats = (np.zeros((len(PLANES), 64)) for _ in range(5))
        return cls(np.zeros(len(PLANES), np.int64), np.zeros((len(PLANES), 64), np.int64), *floats)

    @classmethod
    def of(cls, components: Sequence[Component]) -> FrequencySums:
        """Return the sums over the Y, Cb and Cr components of a file; others (RGB, CMYK, K) are left out."""
        result = cls.empty()
        names = {component.name for component in components}
        if names & {"C", "M"}:  # in CMYK, "Y" is yellow
            return result
        scratch = _zeroed_scratch()
        for component in components:
            plane = _PLANE_OF_NAME.get(component.name)
            if plane is None:
                continue
            blocks = component.coefficients.reshape(-1, 64)
            result.blocks[plane] += len(blocks)
            add_frequency_sums(
                blocks,
                np.ascontiguousarray(component.quant_table).reshape(64),
                scratch,
                *(array[plane] for array in result.arrays()[1:]),
            )
        return result

    def arrays(self) -> tuple[NDArray, ...]:
        """Return the arrays in the order of the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: FrequencySums) -> FrequencySums:
        """Return the sums over both."""
        return FrequencySums(*(a + b for a, b in zip(self.arrays(), other.arrays(), strict=True)))

    def add(self, other: FrequencySums) -> None:
        """Add another's sums to these, in place."""
        for array, addend in zip(self.arrays(), other.arrays(), strict=True):
            array += addend

    def statistics(self, plane: int) -> FrequencyStatistics:
        """Return the statistics of plane 0 (luma) or 1 (chroma)."""
        blocks = self.blocks[plane] or np.nan
        mean = self.sums[plane] / blocks
        variance = np.maximum(self.squares[plane] / blocks - mean**2, 0)
        return FrequencyStatistics(
            zero_rate=(self.zeros[plane] / blocks).reshape(8, 8),
            mean_magnitude=(self.magnitudes[plane] / blocks).reshape(8, 8),
            deviation=np.sqrt(variance).reshape(8, 8),
            laplacian_scale=(self.laplacian_scales[plane] / blocks).reshape(8, 8),
            entropy=(self.entropies[plane] / blocks).reshape(8, 8),
        )


def _zeroed_scratch() -> NDArray[np.int32]:
    """Return this thread's scratch histograms, which `add_frequency_sums` leaves zeroed."""
    if not hasattr(_of_thread, "scratch"):
        _of_thread.scratch = np.zeros((64, 2 * _MAGNITUDES), dtype=np.int32)
    scratch: NDArray[np.int32] = _of_thread.scratch
    return scratch
