"""Upsampling kernels against plain NumPy."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from dctafd_native import upsample


def random_samples(rows: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(rows * 100 + columns).integers(0, 256, (rows, columns), dtype=np.uint8)


def triangle_sums(samples: NDArray[np.integer], axis: int) -> NDArray[np.integer]:
    """Return 3 * nearer + next nearer for twice as many positions along `axis`, edges repeated."""
    samples = np.moveaxis(samples.astype(np.int64), axis, 0)
    before = np.concatenate([samples[:1], samples[:-1]])
    after = np.concatenate([samples[1:], samples[-1:]])
    pairs = np.stack([3 * samples + before, 3 * samples + after], axis=1)
    return np.moveaxis(pairs.reshape(-1, *samples.shape[1:]), 0, axis)


def fancy(samples: NDArray[np.uint8], name: str) -> NDArray[np.integer]:
    if name == "fancy_h2v1":
        sums = triangle_sums(samples, 1)
        return (sums + np.where(np.arange(sums.shape[1]) % 2, 2, 1)) >> 2
    if name == "fancy_h1v2":
        sums = triangle_sums(samples, 0)
        return (sums + np.where(np.arange(sums.shape[0]) % 2, 2, 1)[:, None]) >> 2
    sums = triangle_sums(triangle_sums(samples, 0), 1)
    return (sums + np.where(np.arange(sums.shape[1]) % 2, 7, 8)) >> 4


@pytest.mark.parametrize("name", sorted(upsample.FANCY))
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1), (5, 4), (40, 67)])
def test_fancy_upsampling(name: str, shape: tuple[int, int]) -> None:
    samples = random_samples(*shape)
    expected = fancy(samples, name)
    out = np.empty(expected.shape, np.uint8)
    upsample.FANCY[name](samples, *shape, 0, 0, out)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("name", sorted(upsample.FANCY))
def test_fancy_upsampling_of_a_part_ignores_the_padding(name: str) -> None:
    samples = random_samples(12, 16)
    expected = fancy(samples[:9, :11], name)
    for top, left in ((0, 0), (1, 1), (4, 5), (expected.shape[0] - 1, expected.shape[1] - 1)):
        out = np.empty((expected.shape[0] - top, expected.shape[1] - left), np.uint8)
        upsample.FANCY[name](samples, 9, 11, top, left, out)
        assert np.array_equal(out, expected[top:, left:])


@pytest.mark.parametrize(("across", "down"), [(1, 1), (4, 1), (3, 2), (1, 4)])
def test_replicate(across: int, down: int) -> None:
    samples = random_samples(6, 5)
    expected = samples.repeat(down, axis=0).repeat(across, axis=1)[1:, 2:]
    out = np.empty(expected.shape, np.uint8)
    upsample.replicate(samples, across, down, 1, 2, out)
    assert np.array_equal(out, expected)


def interpolated(samples: NDArray[np.uint8], across: Fraction, down: Fraction) -> NDArray[np.float64]:
    """Return the whole upsampled plane, samples centred in their cells, by np.interp."""

    def along(values: NDArray[np.float64], factor: Fraction) -> NDArray[np.float64]:
        places = (np.arange(int(len(values) * factor)) + 0.5) / float(factor) - 0.5
        return np.stack([np.interp(places, np.arange(len(values)), line) for line in values.T], axis=1)

    return along(along(samples.astype(np.float64), down).T, across).T


@pytest.mark.parametrize("across", [Fraction(3, 2), Fraction(4, 3), Fraction(2)])
@pytest.mark.parametrize("down", [Fraction(1), Fraction(3, 2), Fraction(3)])
def test_linear(across: Fraction, down: Fraction) -> None:
    samples = random_samples(8, 9)
    expected = interpolated(samples, across, down)
    ratios = (across.numerator, across.denominator), (down.numerator, down.denominator)
    out = np.empty(expected.shape, np.uint8)
    upsample.linear(samples, 8, 9, *ratios, 0, 0, 0, 0, out)
    assert np.abs(out - expected).max() < 0.5 + 1e-6
    window = np.ascontiguousarray(samples[2:7, 3:9])
    top, left = int(4 * down), int(5 * across)
    part = np.empty((2, 3), np.uint8)
    upsample.linear(window, 5, 6, *ratios, 2, 3, top, left, part)
    assert np.array_equal(part, out[top : top + 2, left : left + 3])
