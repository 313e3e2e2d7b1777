"""Magnitudes of coefficients, against NumPy and against what FDE-Net makes of them itself."""

import numpy as np
import pytest
import torch

from dctafd.inference.graph_networks import graph_inputs
from dctafd.nets.fde_net import COEFFICIENT_CHANNELS, FDENet
from dctafd_native.magnitudes import log_magnitudes


def test_magnitudes_are_those_of_numpy_and_positive_where_a_coefficient_is() -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(-3, 8, (2, 7, 50)))
    coefficients = (rng.choice([-1, 0, 1], sizes.shape) * sizes).astype(np.float32)
    factors = np.exp(rng.uniform(-23, 0, (2, 7))).astype(np.float32)
    found = np.empty_like(coefficients)
    log_magnitudes(coefficients, factors, np.empty(50, np.int32), found)
    expected = np.log1p(np.abs(coefficients).astype(np.float64) * factors[:, :, None])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert ((found > 0) == (coefficients != 0)).all()


@pytest.mark.parametrize("reads_surviving", [True, False])
def test_fde_net_says_the_same_of_magnitudes_that_it_is_given(reads_surviving: bool) -> None:
    torch.manual_seed(0)
    fde = FDENet(fdm_channels=4, width=6, reads_surviving=reads_surviving).eval()
    shape = (2, COEFFICIENT_CHANNELS, 5, 7)
    coefficients = 40 * torch.randn(shape) * (torch.rand(shape) < 0.4)
    survival = torch.rand(2, COEFFICIENT_CHANNELS)
    survival[0, :9] = 0
    told = (
        coefficients,
        50 * torch.rand(2, COEFFICIENT_CHANNELS),
        survival,
        torch.ones(2, 2),
        torch.zeros(2),
    )
    arrays = graph_inputs([np.zeros(0, np.float32), *(part.numpy() for part in told)], reads_surviving)
    with torch.no_grad():
        expected = fde(*told, summarize=True)
        with fde.reading_magnitudes():
            found = fde(*map(torch.from_numpy, arrays[1:]), summarize=True)
        again = fde(*told, summarize=True)
    for one, other, third in zip(found, expected, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert torch.equal(third, other)
