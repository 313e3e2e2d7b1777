"""Everything about one JPEG file that a person would ask: `inspect_jpeg`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import Component, JpegCoefficients
from dctafd.jpeg.history import HistoryEstimate, estimate_history
from dctafd.jpeg.quality import QualityEstimate, estimate_quality
from dctafd.plain_text import summary

HISTOGRAM_FREQUENCIES = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
"""The frequencies [vertical, horizontal] whose histograms are shown: the first six in zigzag order."""


@dataclass(frozen=True, slots=True, eq=False)
class CoefficientHistogram:
    """How often each quantised value of one frequency occurs.

    Attributes:
        frequency: [vertical, horizontal].
        step: the quantisation step.
        values: (n,) int64 quantised values, from the least to the greatest that occurs.
        counts: (n,) int64.
    """

    frequency: tuple[int, int]
    step: int
    values: NDArray[np.int64]
    counts: NDArray[np.int64]

    __repr__ = summary

    @property
    def zero_rate(self) -> float:
        """Share of zeros."""
        return float(self.counts[self.values == 0].sum() / self.counts.sum())


@dataclass(frozen=True, slots=True)
class BlankTail:
    """Blocks at the end of a component that hold no detail, as truncated data leaves them.

    Attributes:
        component: its name.
        row, column: the first of these blocks, from which on all blocks in raster order have no AC
            coefficient and the same DC.
        share: their share of the component's blocks, 0..1.
    """

    component: str
    row: int
    column: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What `dctafd inspect` shows of a file.

    Attributes:
        jpeg: the file's header and coefficients.
        quality, history: estimates, the history with measured steps.
        histograms: of the first frequencies of the first component.
        blank_tails: where a file with warnings seems to lack data.
    """

    jpeg: JpegCoefficients
    quality: QualityEstimate
    history: HistoryEstimate
    histograms: tuple[CoefficientHistogram, ...]
    blank_tails: tuple[BlankTail, ...]

    __repr__ = summary


def inspect_jpeg(jpeg: JpegCoefficients) -> Inspection:
    """Examine a file that `dctafd.read` returned."""
    tails = (blank_tail(component) for component in jpeg.components) if jpeg.warnings else ()
    return Inspection(
        jpeg=jpeg,
        quality=estimate_quality(jpeg),
        history=estimate_history(jpeg, measure_steps=True),
        histograms=tuple(
            coefficient_histogram(jpeg.components[0], frequency) for frequency in HISTOGRAM_FREQUENCIES
        ),
        blank_tails=tuple(tail for tail in tails if tail is not None),
    )


def coefficient_histogram(component: Component, frequency: tuple[int, int]) -> CoefficientHistogram:
    """Count the quantised values of one frequency [vertical, horizontal]."""
    coefficients = component.coefficients[:, :, frequency[0], frequency[1]].ravel().astype(np.int64)
    low = int(coefficients.min())
    counts = np.bincount(coefficients - low)
    step = int(component.quant_table[frequency])
    return CoefficientHistogram(frequency, step, np.arange(low, low + len(counts)), counts)


def blank_tail(component: Component) -> BlankTail | None:
    """Return the blocks at the end without any detail, None where they are less than a row of blocks."""
    rows, columns = component.coefficients.shape[:2]
    blocks = component.coefficients.reshape(rows * columns, 64)
    plain = ~blocks[:, 1:].any(axis=1) & (blocks[:, 0] == blocks[-1, 0])
    detailed = np.flatnonzero(~plain)
    first = int(detailed[-1]) + 1 if detailed.size else 0
    if len(blocks) - first < columns:
        return None
    return BlankTail(component.name, first // columns, first % columns, 1 - first / len(blocks))


def inspection_record(source: str, inspection: Inspection) -> dict[str, Any]:
    """Return what is known as plain values for JSON; tables and steps are 8x8 lists in natural order."""
    jpeg, history = inspection.jpeg, inspection.history
    steps = history.primary_steps
    return {
        "source": source,
        "width": jpeg.width,
        "height": jpeg.height,
        "bytes": jpeg.file_size,
        "bits_per_pixel": 8 * jpeg.file_size / (jpeg.width * jpeg.height),
        "color_space": jpeg.color_space,
        "process": jpeg.process,
        "subsampling": jpeg.subsampling,
        "orientation": jpeg.orientation,
        "scans": jpeg.scans,
        "restart_interval": jpeg.restart_interval,
        "exif": jpeg.has_exif,
        "icc_bytes": len(jpeg.icc_profile) if jpeg.icc_profile is not None else None,
        "components": [_component_record(component) for component in jpeg.components],
        "quality": asdict(inspection.quality),
        "history": {
            "primary_quality": history.primary_quality,
            "confidence": history.confidence,
            "evidence": history.evidence,
            "primary_steps": steps.tolist() if steps is not None else None,
        },
        "histograms": [
            {
                "frequency": list(histogram.frequency),
                "step": histogram.step,
                "zero_rate": histogram.zero_rate,
                "least_value": int(histogram.values[0]),
                "counts": histogram.counts.tolist(),
            }
            for histogram in inspection.histograms
        ],
        "warnings": list(jpeg.warnings),
        "damage": [asdict(tail) for tail in inspection.blank_tails],
        "error": None,
    }


def _component_record(component: Component) -> dict[str, Any]:
    return {
        "name": component.name,
        "h": component.h,
        "v": component.v,
        "block_rows": component.block_rows,
        "block_columns": component.block_columns,
        "zero_rate": float(np.mean(component.coefficients == 0)),
        "quant_table": component.quant_table.tolist(),
    }
