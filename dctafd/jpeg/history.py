"""Earlier compressions of a JPEG file, from its coefficients.

A photo that was compressed, decoded and compressed again on the same 8x8 grid keeps a trace of the first
compression: its coefficients cluster at multiples of the first quantisation steps, wherever these were
clearly coarser than the second ones. `estimate_history` looks for such combs at the low frequencies of
the first component and asks which IJG quality explains all of them together. docs/history.md has the
method, its figures and its limits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import JpegCoefficients
from dctafd.jpeg.ijg_tables import LUMINANCE, all_scaled_tables
from dctafd.plain_text import summary
from dctafd_native.histogram import comb_log_likelihoods, magnitude_histograms, quality_evidence

PIXEL_ROUNDING_NOISE = 0.6
"""Deviation of coefficients from multiples of the first step: pixels were rounded in between."""
OUTLIERS = 0.5
"""Share of coefficients that may ignore the comb, as clipped blocks do; a true comb can afford half."""
LEAST_STEP_RATIO = 1.3
"""A first step that is less than this times the second leaves no comb to tell from a smooth histogram."""
LEAST_STEP = 3.0
"""Nor does a first step below this, beside the noise of pixel rounding."""
CONTRADICTION_WEIGHT = 3.0
"""How much more a frequency that speaks against a quality counts than one that speaks for it."""
LEAST_STEP_EVIDENCE = 30.0
"""Log likelihood ratio, in nats, from which on a frequency's step is reported by itself."""
MOST_BLOCKS = 2048
"""Blocks looked at: enough to decide, and an estimate of a large photo costs no more."""

_BINS = 128
_FREQUENCY_SUMS = np.add.outer(np.arange(8), np.arange(8)).ravel()
_FIRST_FREQUENCIES = np.flatnonzero((_FREQUENCY_SUMS >= 1) & (_FREQUENCY_SUMS <= 2))  # DC has gaps of its own
_MORE_FREQUENCIES = np.flatnonzero((_FREQUENCY_SUMS >= 3) & (_FREQUENCY_SUMS <= 5))
_ALL_FREQUENCIES = np.concatenate([_FIRST_FREQUENCIES, _MORE_FREQUENCIES])
_STEPS_OF_QUALITIES = np.ascontiguousarray(all_scaled_tables(LUMINANCE).reshape(100, 64).T.astype(np.int64))
_ALL_STEPS = np.repeat(np.arange(1, 256)[:, None], 64, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class HistoryEstimate:
    """What the coefficients tell of an earlier compression.

    Attributes:
        primary_quality: IJG quality 1..100 of the earlier, coarser compression on the same grid; None
            where there is no sign of one.
        confidence: 0.5..1, how far the evidence is from the threshold between None and a quality.
        evidence: log likelihood ratio of the best quality against a single compression, in nats, less what
            contradicts it.
        primary_steps: (8, 8) uint16 first quantisation steps of the first component, each frequency
            measured by itself, natural order, 0 where the coefficients show none; None where not asked
            for.
    """

    primary_quality: int | None
    confidence: float
    evidence: float
    primary_steps: NDArray[np.uint16] | None

    __repr__ = summary


def estimate_history(jpeg: JpegCoefficients, *, measure_steps: bool = False) -> HistoryEstimate:
    """Estimate the quality of an earlier compression from a file's coefficients.

    Args:
        jpeg: coefficients of `dctafd.read`. The first component is looked at: Y, gray, or in RGB and CMYK
            files the first colour, whose earlier compression as Y would leave no comb.
        measure_steps: whether to measure `primary_steps` too, which takes another millisecond.

    Returns:
        The estimate; `primary_quality` is None for a single compression.

    Example:
        >>> dctafd.estimate_history(dctafd.read("photo.jpg")).primary_quality is None
        True
    """
    component = jpeg.components[0]
    blocks = component.coefficients.reshape(-1, 8, 8)
    return estimate_history_of_blocks(
        blocks, component.quant_table, component.missing_bits, measure_steps=measure_steps
    )


def estimate_history_of_blocks(
    blocks: NDArray[np.int16],
    table: NDArray[np.integer],
    missing_bits: NDArray[np.int8] | None = None,
    *,
    measure_steps: bool = False,
) -> HistoryEstimate:
    """Estimate the quality of an earlier compression from some blocks of a luma component.

    Args:
        blocks: (n, 8, 8) int16 quantised coefficients, any choice of the component's blocks.
        table: (8, 8) steps they were quantised with.
        missing_bits: `ComponentHeader.missing_bits`: coefficients that lack their lowest bits look as if they
            had been quantised more coarsely before, so their frequencies do not count.
        measure_steps: whether to measure `primary_steps` too, which takes another millisecond.

    Returns:
        The estimate; `primary_quality` is None for a single compression or for too few blocks.
    """
    sample = np.ascontiguousarray(blocks[:: max(1, -(-len(blocks) // MOST_BLOCKS))]).reshape(-1, 64)
    histograms = np.empty((64, _BINS), dtype=np.int32)
    magnitude_histograms(sample, _ALL_FREQUENCIES, histograms)
    if missing_bits is not None:
        histograms[missing_bits.ravel() != 0] = 0
    stored_steps = np.maximum(np.ascontiguousarray(table, dtype=np.int64).reshape(64), 1)
    totals = _evidence_of_qualities(histograms, stored_steps)
    best = int(np.argmax(totals))
    evidence = max(float(totals[best]), 0.0)
    threshold = least_evidence(len(sample))
    odds = (evidence / threshold) ** 4
    return HistoryEstimate(
        primary_quality=best + 1 if evidence > threshold else None,
        confidence=max(odds, 1.0) / (1.0 + odds),
        evidence=evidence,
        primary_steps=_measure_steps(histograms, stored_steps) if measure_steps else None,
    )


def least_evidence(blocks: int) -> float:
    """Return the evidence, in nats, from which on an earlier compression is believed in.

    It grows with the number of blocks because what feigns evidence, a density unlike the fitted one, does
    too.
    """
    return max(100.0, blocks / 8)


def _evidence_of_qualities(
    histograms: NDArray[np.int32], stored_steps: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (100,) evidence for each quality, below 0 where the lowest frequencies contradict it."""
    totals = np.zeros(100)
    for frequencies in (_FIRST_FREQUENCIES, _MORE_FREQUENCIES):
        # Qualities that the first ones contradict are not asked about the others.
        quality_evidence(
            histograms,
            stored_steps,
            _STEPS_OF_QUALITIES,
            frequencies,
            LEAST_STEP,
            LEAST_STEP_RATIO,
            PIXEL_ROUNDING_NOISE,
            OUTLIERS,
            CONTRADICTION_WEIGHT,
            totals,
        )
        totals[totals == 0] = -1.0
    return totals


def _measure_steps(histograms: NDArray[np.int32], stored_steps: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return (8, 8) uint16: the best first step of each frequency by itself, 0 where there is none."""
    told = np.maximum(LEAST_STEP, LEAST_STEP_RATIO * stored_steps) <= _ALL_STEPS
    likelihoods = np.empty(_ALL_STEPS.shape)
    comb_log_likelihoods(
        histograms, stored_steps, np.where(told, _ALL_STEPS, 0), PIXEL_ROUNDING_NOISE, OUTLIERS, likelihoods
    )
    best = np.argmax(likelihoods, axis=0)
    believed = likelihoods[best, np.arange(64)] > LEAST_STEP_EVIDENCE
    return np.where(believed, best + 1, 0).astype(np.uint16).reshape(8, 8)
