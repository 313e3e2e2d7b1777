"""Histograms of quantised DCT coefficients, and how well earlier quantisation steps explain them."""

import math

import numpy as np
from numpy.typing import NDArray

from dctafd_native.jit import kernel

_EM_ROUNDS = 8
_TINY = 1e-12


@kernel
def magnitude_histograms(
    blocks: NDArray[np.int16], frequencies: NDArray[np.int64], out: NDArray[np.int32]
) -> None:
    """Count the magnitudes of quantised coefficients, frequency by frequency.

    Args:
        blocks: (n, 64) int16 quantised coefficients.
        frequencies: (f,) int64, those that are counted.
        out: (64, B) int32, filled with how often each magnitude 0..B-1 occurs; larger ones are left out, and
            other frequencies are all zero.
    """
    bins = out.shape[1]
    out[:] = 0
    for block in range(blocks.shape[0]):
        for frequency in frequencies:
            magnitude = abs(np.int64(blocks[block, frequency]))
            if magnitude < bins:
                out[frequency, magnitude] += 1


@kernel
def comb_log_likelihoods(
    histograms: NDArray[np.int32],
    table: NDArray[np.int64],
    candidates: NDArray[np.int64],
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
        table: (64,) int64 steps that the coefficients were stored with.
        candidates: (n, 64) int64 steps of an earlier quantisation; 0 leaves a frequency out.
        noise: standard deviation of dequantised coefficients about multiples of the earlier step.
        outliers: share of coefficients that do not keep to the comb, above 0 and below 1.
        out: (n, 64) float64, filled with log P(histogram | double) - log P(histogram | single), in nats.
    """
    found = np.empty(candidates.shape[0])
    column = np.empty(candidates.shape[0], np.int64)
    for frequency in range(64):
        for candidate in range(candidates.shape[0]):
            column[candidate] = candidates[candidate, frequency]
        _log_likelihoods(histograms[frequency], table[frequency], column, noise, outliers, found)
        for candidate in range(candidates.shape[0]):
            out[candidate, frequency] = found[candidate]


@kernel
def quality_evidence(
    histograms: NDArray[np.int32],
    table: NDArray[np.int64],
    tables: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    least_step: float,
    least_ratio: float,
    noise: float,
    outliers: float,
    contradiction: float,
    out: NDArray[np.float64],
) -> None:
    """Add up how well the steps of each candidate quality explain the histograms of some frequencies.

    Args:
        histograms, table, noise, outliers: as for `comb_log_likelihoods`.
        tables: (64, n) int64, the candidates' steps by frequency.
        frequencies: (f,) int64, those that count.
        least_step, least_ratio: a candidate's step says nothing below the first, or below so many times the
            stored one.
        contradiction: how much more a frequency counts that speaks against a candidate.
        out: (n,) float64; evidence in nats is added to candidates that are not below zero, others are left.
    """
    found = np.empty(tables.shape[1])
    column = np.empty(tables.shape[1], np.int64)
    taken = out >= 0.0
    for frequency in frequencies:
        least = max(least_step, least_ratio * table[frequency])
        for candidate in range(column.size):
            step = tables[frequency, candidate]
            column[candidate] = step if taken[candidate] and step >= least else 0
        _log_likelihoods(histograms[frequency], table[frequency], column, noise, outliers, found)
        for candidate in range(column.size):
            if taken[candidate]:
                out[candidate] += found[candidate] * (contradiction if found[candidate] < 0.0 else 1.0)


@kernel
def _log_likelihoods(
    counts: NDArray[np.int32],
    step: int,
    candidates: NDArray[np.int64],
    noise: float,
    outliers: float,
    out: NDArray[np.float64],
) -> None:
    """Fill in (n,) log likelihood ratios of one frequency for (n,) candidates; 0 for candidates of 0."""
    out[:] = 0.0
    present = np.nonzero(counts)[0]
    if present.size == 0 or present[-1] == 0 or candidates.max() <= 0:
        return
    largest = present[-1]
    weight, narrow, wide = _fit_two_laplacians(counts, present)
    smooth = np.empty(largest + 1)
    comb = np.zeros(largest + 1)
    _fill_laplacian(narrow, weight, comb)
    _fill_laplacian(wide, 1.0 - weight, smooth)
    smooth += comb + _TINY
    comb[:] = 0.0
    offsets, shares = _spread_of_residues(step, noise)
    for candidate in range(candidates.size):
        first = candidates[candidate]
        if first <= 0:
            continue
        if candidate > 0 and first == candidates[candidate - 1]:
            out[candidate] = out[candidate - 1]
            continue
        _fill_comb(weight, narrow, wide, first, step, offsets, shares, largest, comb)
        out[candidate] = _log_likelihood_ratio(counts, present, comb, smooth, outliers)
        comb[:] = 0.0


@kernel
def _laplacian_root(mean_magnitude: float) -> float:
    """Return u so that P(0) = 1 - u, P(+-m) = u**(2m - 1) (1 - u**2), a quantised Laplacian, has the mean."""
    return (math.sqrt(1.0 + 4.0 * mean_magnitude * mean_magnitude) - 1.0) / (2.0 * mean_magnitude)


@kernel
def _fill_laplacian(log_root: float, weight: float, out: NDArray[np.float64]) -> None:
    """Fill in `weight` times the probabilities of magnitudes 0, 1, ... under a quantised Laplacian."""
    root = math.exp(log_root)
    out[0] = weight * (1.0 - root)
    mass = weight * root * (1.0 - root * root)
    for magnitude in range(1, out.size):
        out[magnitude] = mass
        mass *= root * root


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
    near = np.empty(present[-1] + 1)
    far = np.empty(present[-1] + 1)
    for _ in range(_EM_ROUNDS):
        narrow_total = 0.0
        narrow_weighted = 0.0
        _fill_laplacian(narrow, weight, near)
        _fill_laplacian(wide, 1.0 - weight, far)
        for magnitude in present:
            share = counts[magnitude] * near[magnitude] / (near[magnitude] + far[magnitude] + 1e-300)
            narrow_total += share
            narrow_weighted += share * magnitude
        wide_total = total - narrow_total
        weight = min(max(narrow_total / total, 1e-6), 1.0 - 1e-6)
        narrow = math.log(_laplacian_root(max(narrow_weighted / max(narrow_total, 1e-9), 1e-4)))
        wide = math.log(_laplacian_root(max((weighted - narrow_weighted) / max(wide_total, 1e-9), 1e-4)))
    return weight, narrow, wide


@kernel
def _spread_of_residues(step: int, noise: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Say into which bins a value with normal noise (cut at 3 deviations) falls when quantised with `step`.

    Returns, for each value r = 0..step - 1, the first bin (step,) and the probabilities of it and the bins
    after it (step, m); a value of n * step + r falls n bins further.
    """
    reach = 3.0 * noise
    offsets = np.empty(step, dtype=np.int64)
    shares = np.zeros((step, int(2.0 * reach / step) + 2))
    for residue in range(step):
        low = math.floor((residue - reach) / step + 0.5)
        high = math.floor((residue + reach) / step + 0.5)
        offsets[residue] = low
        below = 0.0
        for magnitude in range(low, high + 1):
            z = ((magnitude + 0.5) * step - residue) / noise
            up_to = 1.0 if magnitude == high else 0.5 * (1.0 + math.erf(z * 0.7071067811865476))
            shares[residue, magnitude - low] = up_to - below
            below = up_to
    return offsets, shares


@kernel
def _fill_comb(
    weight: float,
    narrow: float,
    wide: float,
    first: int,
    step: int,
    offsets: NDArray[np.int64],
    shares: NDArray[np.float64],
    largest: int,
    comb: NDArray[np.float64],
) -> None:
    """Add to `comb` the probability of each magnitude after quantising with `first`, then `step`.

    Zeros get half of the noise: they are the most in smooth blocks, where little is rounded.
    """
    narrow_root = math.exp(narrow * first / step)
    wide_root = math.exp(wide * first / step)
    mass = weight * (1.0 - narrow_root) + (1.0 - weight) * (1.0 - wide_root)
    narrow_mass = weight * narrow_root * (1.0 - narrow_root * narrow_root)
    wide_mass = (1.0 - weight) * wide_root * (1.0 - wide_root * wide_root)
    value = 0
    magnitude = 0
    while magnitude <= largest:
        residue = value % step
        magnitude = value // step + offsets[residue]
        for index in range(shares.shape[1]):
            if magnitude + index <= largest:
                comb[max(0, magnitude + index)] += mass * shares[residue, index]
        value += first
        mass = narrow_mass + wide_mass
        narrow_mass *= narrow_root * narrow_root
        wide_mass *= wide_root * wide_root


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


@kernel
def add_frequency_sums(
    blocks: NDArray[np.int16],
    steps: NDArray[np.uint16],
    scratch: NDArray[np.int32],
    zeros: NDArray[np.int64],
    sums: NDArray[np.float64],
    magnitude_sums: NDArray[np.float64],
    square_sums: NDArray[np.float64],
    laplacian_scales: NDArray[np.float64],
    entropies: NDArray[np.float64],
) -> None:
    """Add one component's statistics of each frequency, in one pass over its coefficients.

    Args:
        blocks: (n, 64) int16 quantised coefficients.
        steps: (64,) uint16 quantisation steps.
        scratch: (64, 2 * M) int32, all zero, and all zero again afterwards; coefficients count as M - 1 at
            most and -M at least. Rows whose length is a power of two share cache lines and are slow.
        zeros: (64,) int64, to which the number of zero coefficients is added.
        sums, magnitude_sums, square_sums: (64,) float64, to which the sums of the dequantised coefficients,
            of their magnitudes and of their squares are added.
        laplacian_scales: (64,) float64, to which n times the scale b of the Laplacian density
            exp(-|x| / b) / 2b is added whose quantised mean magnitude is the one found; 0 where all are zero.
        entropies: (64,) float64, to which n times the entropy in bits of the quantised coefficients is added:
            that of the magnitudes, and one bit for each sign.
    """
    n = blocks.shape[0]
    middle = scratch.shape[1] // 2
    least = np.zeros(64, dtype=np.int16)
    greatest = np.zeros(64, dtype=np.int16)
    for block in range(n):
        for frequency in range(64):
            least[frequency] = min(least[frequency], blocks[block, frequency])
            greatest[frequency] = max(greatest[frequency], blocks[block, frequency])
    for block in range(n):
        for frequency in range(64):
            value = min(max(np.int64(blocks[block, frequency]), -middle), middle - 1)
            scratch[frequency, middle + value] += 1
    for frequency in range(64):
        counts = scratch[frequency]
        largest = min(max(-np.int64(least[frequency]), np.int64(greatest[frequency])), middle)
        step = float(steps[frequency])
        nonzero = 0
        weighted = 0.0
        magnitudes = 0.0
        squares = 0.0
        surprise = 0.0
        for magnitude in range(1, largest + 1):
            positive = counts[middle + magnitude] if magnitude < middle else 0
            negative = counts[middle - magnitude]
            number = positive + negative
            if number > 0:
                nonzero += number
                weighted += float(positive - negative) * magnitude
                magnitudes += float(number) * magnitude
                squares += float(number) * magnitude * magnitude
                surprise += number * math.log2(n / number)
        counts[middle - largest : middle + largest + 1] = 0
        zeros[frequency] += n - nonzero
        if nonzero > 0:
            sums[frequency] += step * weighted
            magnitude_sums[frequency] += step * magnitudes
            square_sums[frequency] += step * step * squares
            laplacian_scales[frequency] -= n * step / (2.0 * math.log(_laplacian_root(magnitudes / n)))
            if nonzero < n:
                surprise += (n - nonzero) * math.log2(n / (n - nonzero))
            entropies[frequency] += surprise + nonzero
