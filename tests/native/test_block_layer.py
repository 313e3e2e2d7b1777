"""FDE-Net's first layer on coefficients of which most are zero, against NumPy and against FDE-Net itself."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dctafd.inference.block_sums import first_layer_of
from dctafd.nets.fde_net import COEFFICIENT_CHANNELS, BlockSums, FDENet
from dctafd_native.block_layer import LANES, add_blocks, find_nonzero


def reference(
    coefficients: NDArray[Any],
    factors: NDArray[np.float32],
    weights: NDArray[np.float32],
    kept_weights: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    magnitudes = np.log1p(np.abs(coefficients.astype(np.float64)) * factors[:, None])
    kept = (coefficients != 0).astype(np.float64)
    return magnitudes.T @ weights + kept.T @ kept_weights, np.stack([magnitudes.mean(1), kept.mean(1)])


def room_for(cells: int) -> tuple[NDArray[Any], ...]:
    return np.empty(cells + LANES, np.int32), *np.full((2, cells + LANES), np.nan, np.float32)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("cells", [1, 50, 784])  # of which channels have none, few or many that are not 0
@pytest.mark.parametrize("width", [5, 32])
def test_sums_and_sizes_are_those_of_numpy(dtype: type[Any], cells: int, width: int) -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(-3 if dtype is np.float32 else 0, 9, (7, cells)))
    share = np.linspace(0, 1, 7)[:, None]
    signs = rng.choice([-1, 1], sizes.shape) * (rng.random(sizes.shape) < share)
    coefficients = (signs * sizes).astype(dtype)
    coefficients[6, 0] = -16384
    factors = np.exp(rng.uniform(-23, 0, 7)).astype(np.float32)
    weights = rng.normal(size=(7, width)).astype(np.float32)
    kept_weights = rng.normal(size=(7, width)).astype(np.float32)
    sums, means = np.full((cells, width), 0.5, np.float32), np.empty((2, 7), np.float32)
    room = room_for(cells)

    add_blocks(coefficients, factors, weights, kept_weights, *room, sums, means)

    expected_sums, expected_means = reference(coefficients, factors, weights, kept_weights)
    np.testing.assert_allclose(sums, expected_sums + 0.5, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(means, expected_means, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("columns", [3, 64, 200])
def test_places_that_are_not_zero(dtype: type[Any], columns: int) -> None:
    rng = np.random.default_rng(columns)
    values = (rng.integers(-30000, 30000, (3, columns)) * (rng.random((3, columns)) < 0.2)).astype(dtype)
    values[1, -1] = 1
    if dtype is np.float32:
        values[1, 0] = -0.0
    places = np.empty(columns + LANES, np.int32)
    for row in range(3):
        found = find_nonzero(values, row, places)
        np.testing.assert_array_equal(places[:found], np.flatnonzero(values[row]))


def test_what_hardly_survives_still_has_a_size() -> None:
    coefficients = np.ones((1, 40), np.int16)
    sums, means = np.zeros((40, 1), np.float32), np.empty((2, 1), np.float32)
    factors, room = np.full(1, 1e-10, np.float32), room_for(40)
    weights, kept_weights = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    add_blocks(coefficients, factors, weights, kept_weights, *room, sums, means)
    np.testing.assert_allclose(sums, 1e-10, rtol=1e-6)


@pytest.mark.parametrize("reads_surviving", [True, False])
def test_fde_net_says_the_same_of_sums_that_it_is_given(reads_surviving: bool) -> None:
    torch.manual_seed(0)
    fde = FDENet(fdm_channels=4, width=6, reads_surviving=reads_surviving).eval()
    shape = (2, COEFFICIENT_CHANNELS, 5, 7)
    coefficients = (40 * torch.randn(shape) * (torch.rand(shape) < 0.4)).round()
    survival = torch.rand(2, COEFFICIENT_CHANNELS)
    survival[0, :9] = 0
    steps = 50 * torch.rand(2, COEFFICIENT_CHANNELS)
    rest = (torch.ones(2, 2), torch.zeros(2))
    given = first_layer_of(fde).sums(coefficients.numpy().astype(np.int16), steps.numpy(), survival.numpy())
    with torch.no_grad():
        expected = fde(coefficients, steps, survival, *rest, summarize=True)
        found = fde(BlockSums(*map(torch.from_numpy, given)), steps, survival, *rest, summarize=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
