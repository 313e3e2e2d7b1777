"""The inverse DCT kernels against plain NumPy: the same butterflies, and the textbook transform."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dctafd_native import idct

SIZES = (8, 4, 2)


def reference(blocks: NDArray[np.int16], table: NDArray[np.int16], size: int) -> NDArray[np.uint8]:
    """Return (..., size, size) samples: columns, then rows, in 32-bit arithmetic."""
    butterfly, fraction = idct.BUTTERFLIES[size]
    values = (blocks * table).astype(np.int16).astype(np.int32)
    for axis, shift in ((-2, fraction - 2), (-1, fraction + 5)):
        frequencies = list(np.moveaxis(values, axis, 0))
        sums = [(line + (1 << (shift - 1))) >> shift for line in butterfly(frequencies)]
        values = np.clip(np.moveaxis(np.stack(sums), 0, axis), -32768, 32767)
    return np.clip(values + 128, 0, 255).astype(np.uint8)


def tiled(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns, size, _ = samples.shape
    return samples.swapaxes(1, 2).reshape(rows * size, columns * size)


def transform(
    blocks: NDArray[np.int16], table: NDArray[np.int16], size: int, top: int = 0, left: int = 0
) -> NDArray[np.uint8]:
    out = np.empty(((blocks.shape[0] - top) * size, (blocks.shape[1] - left) * size), np.uint8)
    idct.KERNELS[size](blocks, table, top, left, out)
    return out


def sparse_blocks(seed: int = 0) -> NDArray[np.int16]:
    """Blocks with 0 to 64 coefficients, in every corner that the kernels treat on its own."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(-60, 61, (12, 11, 8, 8)).astype(np.int16)
    for i, side in enumerate((1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8)):
        blocks[i, :, side:, :] = 0
        blocks[i, :, :, side:] = 0
    blocks[8, :, 1:] = 0
    blocks[9, :, :, 1:] = 0
    blocks[10] *= rng.random((11, 8, 8)) < 0.05
    return blocks


@pytest.mark.parametrize("size", SIZES)
def test_kernels_equal_their_butterflies_in_numpy(size: int) -> None:
    table = np.random.default_rng(1).integers(1, 40, (8, 8)).astype(np.int16)
    blocks = sparse_blocks()
    assert np.array_equal(transform(blocks, table, size), tiled(reference(blocks, table, size)))


@pytest.mark.parametrize("size", SIZES)
def test_any_coefficient_wraps_and_is_clamped(size: int) -> None:
    rng = np.random.default_rng(2)
    blocks = rng.integers(-32768, 32768, (9, 9, 8, 8)).astype(np.int16)
    table = rng.integers(0, 65536, (8, 8)).astype(np.uint16).view(np.int16)
    assert np.array_equal(transform(blocks, table, size), tiled(reference(blocks, table, size)))


def test_one_by_one_is_the_mean() -> None:
    means = np.arange(-3000, 3000, 7, dtype=np.int16)[None, :, None, None]
    table = np.full((8, 8), 3, np.int16)
    levels = np.floor(means[..., 0, 0] * 3 / 8 + 0.5).astype(int)
    levels = (levels + 512) % 1024 - 512  # libjpeg looks them up in a table of 10 bits
    expected = np.clip(levels + 128, 0, 255)
    assert np.array_equal(transform(means, table, 1), expected)


def test_a_block_of_only_a_mean_is_flat_at_every_size() -> None:
    blocks = np.zeros((3, 5, 8, 8), np.int16)
    blocks[:, :, 0, 0] = np.arange(-105, 105, 14).reshape(3, 5)
    table = np.full((8, 8), 11, np.int16)
    small = transform(blocks, table, 1)
    for size in SIZES:
        assert np.array_equal(transform(blocks, table, size), small.repeat(size, 0).repeat(size, 1))


def test_full_size_is_within_a_level_of_the_exact_transform() -> None:
    blocks, table = sparse_blocks(3) // 4, np.full((8, 8), 9, np.int16)
    k, x = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * x + 1) * k * np.pi / 16) / 2  # (frequency, sample), T.81 A.3.3
    basis[0] /= np.sqrt(2)
    exact = np.einsum("vy,rcvu,ux->rcyx", basis, blocks * 9.0, basis) + 128
    error = transform(blocks, table, 8) - np.clip(tiled(exact), 0, 255)
    assert np.abs(error).max() < 0.6


@pytest.mark.parametrize(("size", "tolerance"), [(4, 1.6), (2, 2.1), (1, 0.6)])
def test_reduced_sizes_are_near_the_means_of_full_size_samples(size: int, tolerance: float) -> None:
    blocks = sparse_blocks(4)
    blocks[:, :, 4:, :] = blocks[:, :, :, 4:] = 0
    blocks //= 4
    table = np.full((8, 8), 5, np.int16)
    full = transform(blocks, table, 8).astype(np.float64)
    step = 8 // size
    means = full.reshape(full.shape[0] // step, step, full.shape[1] // step, step).mean(axis=(1, 3))
    inside = (means > 20) & (means < 235)
    assert inside.mean() > 0.9
    error = (transform(blocks, table, size) - means)[inside]
    assert np.abs(error).mean() < tolerance


@pytest.mark.parametrize("size", [8, 4, 2, 1])
def test_a_window_equals_the_same_part_of_the_whole(size: int) -> None:
    table = np.full((8, 8), 7, np.int16)
    blocks = sparse_blocks(5)
    whole = transform(blocks, table, size)
    assert np.array_equal(transform(blocks, table, size, 3, 2), whole[3 * size :, 2 * size :])
