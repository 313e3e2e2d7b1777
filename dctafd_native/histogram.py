"""Histograms of quantised DCT coefficients, and how well earlier quantisation steps explain them."""

import math

import numpy as np
from numpy.typing import NDArray

from dctafd_native.jit import kernel

_EM_ROUNDS = 8
_TINY = 1e-12


@kernel
def magnitude_histograms(blocks: NDArray[np.int16], out: NDArray[np.int32]) -> None:
    """Count the magnitudes of quantised coefficients, frequency by frequency.

    Args:
        blocks: (n, 64) int16 quantised coefficients.
        out: (64, B) int32, filled with how often each magnitude 0..B-1 occurs; larger ones are left out.
    """
    bins = out.shape[1]
    out[:] = 0
    for block in range(blocks.shape[0]):
        for frequency in range(64):
            magnitude = abs(np.int64(blocks[block, frequency]))
            if magnitude < bins:
                out[frequency, magnitude] += 1


@kernel
def comb_log_likelihoods(
    histograms: NDArray[np.int32],
    table: NDArray[np.float64],
    candidates: NDArray[np.float64],
    noise: float,
    outliers: float,
    out: NDArray[np.float64],
) -> None:
    """Compare, for each candidate step of an earlier quantisation, two explanations of a histogram.

    Both draw the coefficient from one smooth density, a mixture of two Laplacians fitted to the histogram.
    The single compression quantises it once, with the table's step. The double one quantises it with the
    candidate step, adds normal noise (the rounding of pixels in between) and quantises with the table's step;
    a share of the coefficients, `outliers`, follows the single compression even so (blocks that were
    clipped).

    Args:
        histograms: (64, B) int32 counts of magnitudes.
        table: (64,) float64 steps that the coefficients were stored with.
        candidates: (n, 64) float64 steps of an earlier quantisation; 0 leaves a frequency out.
        noise: standard deviation of dequantised coefficients about multiples of the earlier step.
        outliers: share of coefficients that do not keep to the comb, above 0 and below 1.
        out: (n, 64) float64, filled with log P(histogram | double) - log P(histogram | single), in nats.
    """
    bins = histograms.shape[1]
    smooth = np.empty(bins)
    comb = np.zeros(bins)
    out[:] = 0.0
    for frequency in range(64):
        step = table[frequency]
        counts = histograms[frequency]
        present = np.nonzero(counts)[0]
        if present.size == 0 or present[-1] == 0 or candidates[:, frequency].max() <= 0.0:
            continue
        weight, narrow, wide = _fit_two_laplacians(counts, present)
        for magnitude in present:
            smooth[magnitude] = _TINY + (
                weight * _laplacian_mass(narrow, magnitude)
                + (1.0 - weight) * _laplacian_mass(wide, magnitude)
            )
        for candidate in range(candidates.shape[0]):
            first = candidates[candidate, frequency]
            if first <= 0.0:
                continue
            if candidate > 0 and first == candidates[candidate - 1, frequency]:
                out[candidate, frequency] = out[candidate - 1, frequency]
                continue
            _fill_comb(weight, narrow, wide, first, step, noise, present[-1], comb)
            out[candidate, frequency] = _log_likelihood_ratio(counts, present, comb, smooth, outliers)
            comb[: present[-1] + 1] = 0.0


@kernel
def _laplacian_root(mean_magnitude: float) -> float:
    """Return u so that P(0) = 1 - u, P(+-m) = u**(2m - 1) (1 - u**2), a quantised Laplacian, has the mean."""
    return (math.sqrt(1.0 + 4.0 * mean_magnitude * mean_magnitude) - 1.0) / (2.0 * mean_magnitude)


@kernel
def _laplacian_mass(log_root: float, magnitude: int) -> float:
    """Return the probability of +-magnitude under a quantised Laplacian."""
    if magnitude == 0:
        return 1.0 - math.exp(log_root)
    return math.exp((2 * magnitude - 1) * log_root) * (1.0 - math.exp(2.0 * log_root))


@kernel
def _fit_two_laplacians(counts: NDArray[np.int32], present: NDArray[np.int64]) -> tuple[float, float, float]:
    """Fit a narrow and a wide quantised Laplacian to a histogram by expectation maximisation.

    Returns the narrow one's weight and the logarithms of the two roots; `present` lists the filled bins.
    """
    total = 0.0
    weighted = 0.0
    for magnitude in present:
        total += counts[magnitude]
        weighted += counts[magnitude] * magnitude
    weight = 0.5
    narrow = math.log(_laplacian_root(0.3 * weighted / total))
    wide = math.log(_laplacian_root(1.7 * weighted / total))
    for _ in range(_EM_ROUNDS):
        narrow_total = 0.0
        narrow_weighted = 0.0
        for magnitude in present:
            a = weight * _laplacian_mass(narrow, magnitude)
            b = (1.0 - weight) * _laplacian_mass(wide, magnitude)
            share = counts[magnitude] * a / (a + b + 1e-300)
            narrow_total += share
            narrow_weighted += share * magnitude
        wide_total = total - narrow_total
        weight = min(max(narrow_total / total, 1e-6), 1.0 - 1e-6)
        narrow = math.log(_laplacian_root(max(narrow_weighted / max(narrow_total, 1e-9), 1e-4)))
        wide = math.log(_laplacian_root(max((weighted - narrow_weighted) / max(wide_total, 1e-9), 1e-4)))
    return weight, narrow, wide


@kernel
def _fill_comb(
    weight: float,
    narrow: float,
    wide: float,
    first: float,
    step: float,
    noise: float,
    largest: int,
    comb: NDArray[np.float64],
) -> None:
    """Add to `comb` the probability of each magnitude after quantising with `first`, then `step`."""
    narrow_root = math.exp(narrow * first / step)
    wide_root = math.exp(wide * first / step)
    zero_mass = weight * (1.0 - narrow_root) + (1.0 - weight) * (1.0 - wide_root)
    _add_tooth(0.0, zero_mass, step, noise, largest, comb)
    narrow_mass = weight * narrow_root * (1.0 - narrow_root * narrow_root)
    wide_mass = (1.0 - weight) * wide_root * (1.0 - wide_root * wide_root)
    teeth = int(((largest + 0.5) * step + 3.0 * noise) / first)
    for tooth in range(1, teeth + 1):
        _add_tooth(tooth * first, narrow_mass + wide_mass, step, noise, largest, comb)
        narrow_mass *= narrow_root * narrow_root
        wide_mass *= wide_root * wide_root


@kernel
def _add_tooth(
    value: float, mass: float, step: float, noise: float, largest: int, comb: NDArray[np.float64]
) -> None:
    """Spread a tooth's probability over the bins that `value` plus noise (3 deviations) can fall into."""
    low = int(max(0.0, (value - 3.0 * noise) / step + 0.5))
    high = int((value + 3.0 * noise) / step + 0.5)
    below = 0.0
    for magnitude in range(low, min(high, largest) + 1):
        if magnitude == high:
            up_to = 1.0
        else:
            z = ((magnitude + 0.5) * step - value) / noise
            up_to = 0.5 * (1.0 + math.erf(z * 0.7071067811865476))
        comb[magnitude] += mass * (up_to - below)
        below = up_to


@kernel
def _log_likelihood_ratio(
    counts: NDArray[np.int32],
    present: NDArray[np.int64],
    comb: NDArray[np.float64],
    smooth: NDArray[np.float64],
    outliers: float,
) -> float:
    ratio = (1.0 - outliers) / outliers
    total = 0
    result = 0.0
    for magnitude in present:
        total += counts[magnitude]
        if comb[magnitude] > 0.0:
            result += counts[magnitude] * math.log(1.0 + ratio * comb[magnitude] / smooth[magnitude])
    return result + total * math.log(outliers)
