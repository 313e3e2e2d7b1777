"""The histogram kernels against plain NumPy."""

import math

import numpy as np
from numpy.typing import NDArray

from dctafd_native.histogram import (
    add_frequency_sums,
    comb_log_likelihoods,
    magnitude_histograms,
    quality_evidence,
)


def reference_histograms(blocks: np.ndarray, bins: int) -> np.ndarray:
    magnitudes = np.abs(blocks.astype(np.int64))
    return np.stack([np.bincount(column[column < bins], minlength=bins) for column in magnitudes.T])


def laplacian_mass(root: float, magnitude: np.ndarray) -> np.ndarray:
    return np.where(magnitude == 0, 1 - root, root ** (2.0 * magnitude - 1) * (1 - root**2))


def laplacian_root(mean: float) -> float:
    return (math.sqrt(1 + 4 * mean**2) - 1) / (2 * mean)


def reference_mixture(counts: np.ndarray) -> tuple[float, float, float]:
    magnitudes = np.arange(counts.size)
    mean = np.sum(counts * magnitudes) / counts.sum()
    weight, narrow, wide = 0.5, laplacian_root(0.3 * mean), laplacian_root(1.7 * mean)
    for _ in range(8):
        a = weight * laplacian_mass(narrow, magnitudes)
        b = (1 - weight) * laplacian_mass(wide, magnitudes)
        share = counts * a / (a + b + 1e-300)
        other = counts - share
        weight = np.clip(share.sum() / counts.sum(), 1e-6, 1 - 1e-6)
        narrow = laplacian_root(max(np.sum(share * magnitudes) / share.sum(), 1e-4))
        wide = laplacian_root(max(np.sum(other * magnitudes) / other.sum(), 1e-4))
    return weight, narrow, wide


def reference_log_likelihood(
    counts: NDArray, step: float, first: int, noise: float, outliers: float
) -> float:
    """One frequency and candidate, with every tooth spread over every bin."""
    weight, narrow, wide = reference_mixture(counts)
    magnitudes = np.arange(counts.size)
    smooth = weight * laplacian_mass(narrow, magnitudes) + (1 - weight) * laplacian_mass(wide, magnitudes)
    comb = np.zeros(counts.size)
    cdf = np.vectorize(lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2))))
    for tooth in range(int(counts.size * step / first) + 2):
        mass = weight * laplacian_mass(narrow ** (first / step), np.array(tooth))
        mass = mass + (1 - weight) * laplacian_mass(wide ** (first / step), np.array(tooth))
        edges = (np.arange(counts.size + 1) - 0.5) * step
        edges[0] = -np.inf  # what falls below zero stays zero
        share = np.diff(cdf((edges - tooth * first) / noise))
        comb += mass * share
    ratio = outliers + (1 - outliers) * comb / smooth
    return float(np.sum(counts * np.log(ratio)))


def laplacian_blocks(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.rint(rng.laplace(0, np.linspace(30, 1, 64), (n, 64))).astype(np.int16)


def test_magnitude_histograms_equal_bincount() -> None:
    blocks = laplacian_blocks(np.random.default_rng(0), 500)
    blocks[0, :2] = (-32768, 32767)  # the magnitude of -32768 is no int16
    out = np.full((64, 128), -1, dtype=np.int32)
    chosen = np.array([0, 1, 63, 9])
    magnitude_histograms(blocks, np.arange(64), out)
    expected = reference_histograms(blocks, 128)
    np.testing.assert_array_equal(out, expected)
    magnitude_histograms(blocks, chosen, out)
    np.testing.assert_array_equal(out[chosen], expected[chosen])
    assert not np.delete(out, chosen, axis=0).any()


def test_log_likelihood_ratios_equal_the_plain_computation() -> None:
    rng = np.random.default_rng(1)
    first, step = 16, 5
    values = np.rint(rng.laplace(0, 25, (900, 64)) / first) * first + rng.normal(0, 0.6, (900, 64))
    histograms = reference_histograms(np.rint(values / step).astype(np.int16), 64).astype(np.int32)
    candidates = np.full((4, 64), [[0], [11], [16], [23]])
    out = np.empty((4, 64))
    comb_log_likelihoods(histograms, np.full(64, step), candidates, 0.6, 0.5, out)
    assert not out[0].any()
    for row, candidate in enumerate(candidates[1:, 0], start=1):
        expected = [reference_log_likelihood(counts, step, candidate, 0.6, 0.5) for counts in histograms]
        np.testing.assert_allclose(out[row], expected, rtol=0.02, atol=0.5)
    assert (out[2] > 200).all()
    assert (out[[1, 3]] < 0).mean() > 0.9


def test_the_true_step_of_every_frequency_wins_and_a_smooth_histogram_has_none() -> None:
    rng = np.random.default_rng(2)
    steps = rng.integers(20, 60, 64)
    smooth = rng.laplace(0, 40, (784, 64))
    table = np.full(64, 6)
    candidates = np.repeat(np.arange(9, 100)[:, None], 64, axis=1)
    out = np.empty(candidates.shape)
    doubly = np.rint((np.rint(smooth / steps) * steps + rng.normal(0, 0.5, smooth.shape)) / table)
    comb_log_likelihoods(reference_histograms(doubly, 128).astype(np.int32), table, candidates, 0.6, 0.5, out)
    assert np.abs(candidates[np.argmax(out, axis=0), 0] - steps).max() <= 1
    singly = np.rint(smooth / table)
    comb_log_likelihoods(reference_histograms(singly, 128).astype(np.int32), table, candidates, 0.6, 0.5, out)
    assert out.max() < 5


def test_evidence_adds_up_likelihoods_and_weighs_contradiction() -> None:
    rng = np.random.default_rng(5)
    values = np.rint(rng.laplace(0, 25, (900, 64)) / 16) * 16 + rng.normal(0, 0.6, (900, 64))
    histograms = reference_histograms(np.rint(values / 5).astype(np.int16), 64).astype(np.int32)
    table, candidates = np.full(64, 5), rng.integers(1, 40, (7, 64))
    candidates[0] = 16
    likelihoods = np.empty(candidates.shape)
    told = candidates >= max(3.0, 1.3 * 5)
    comb_log_likelihoods(histograms, table, np.where(told, candidates, 0), 0.6, 0.5, likelihoods)
    weighed = np.where(likelihoods < 0, 3 * likelihoods, likelihoods)
    frequencies = np.array([1, 8, 9])
    out = np.zeros(7)
    out[6] = -1.0
    steps = np.ascontiguousarray(candidates.T)
    quality_evidence(histograms, table, steps, frequencies, 3.0, 1.3, 0.6, 0.5, 3.0, out)
    np.testing.assert_allclose(out[:6], weighed[:6, frequencies].sum(axis=1), rtol=1e-9)
    assert out[0] > 0
    assert out[6] == -1.0


def test_empty_and_all_zero_histograms_say_nothing() -> None:
    histograms = np.zeros((64, 16), dtype=np.int32)
    histograms[:32, 0] = 100
    out = np.full((2, 64), np.nan)
    comb_log_likelihoods(histograms, np.full(64, 3), np.full((2, 64), 9), 0.6, 0.5, out)
    assert not out.any()


def test_frequency_sums_equal_plain_numpy_and_leave_the_scratch_zeroed() -> None:
    rng = np.random.default_rng(3)
    blocks = laplacian_blocks(rng, 400)
    blocks[:, 40:] = 0
    blocks[:, 39] = 5  # no zero at all
    blocks[0, :3] = (2047, -2047, -3)
    steps = rng.integers(1, 60, 64).astype(np.uint16)
    scratch = np.zeros((64, 2 * 2056), dtype=np.int32)
    zeros, floats = np.full(64, 7), [np.full(64, 0.5) for _ in range(5)]
    add_frequency_sums(blocks, steps, scratch, zeros, *floats)
    assert not scratch.any()
    values = blocks * steps.astype(float)
    np.testing.assert_array_equal(zeros, 7 + (blocks == 0).sum(axis=0))
    for found, expected in zip(floats, (values, np.abs(values), values**2), strict=False):
        np.testing.assert_allclose(found, 0.5 + expected.sum(axis=0))
    for frequency, column in enumerate(np.abs(blocks.astype(int)).T):
        mean = column.mean()
        scale = -float(steps[frequency]) / (2 * math.log(laplacian_root(mean))) if mean else 0.0
        shares = np.bincount(column)[np.unique(column)] / len(column)
        entropy = -np.sum(shares * np.log2(shares)) + np.mean(column > 0)
        assert np.isclose(floats[3][frequency], 0.5 + 400 * scale)
        assert np.isclose(floats[4][frequency], 0.5 + 400 * entropy)
