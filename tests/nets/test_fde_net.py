"""FDE-Net, whose first layer never writes the map that it reads, against plain convolutions over it."""

import pytest
import torch
from torch.nn import functional

from dctafd.nets.fde_net import COEFFICIENT_CHANNELS, FDENet, surviving_share


def test_fde_net_reads_surviving_magnitudes_and_the_steps_of_kept_coefficients() -> None:
    torch.manual_seed(0)
    fde = FDENet(fdm_channels=4, width=6)
    shape = (3, COEFFICIENT_CHANNELS, 5, 7)
    coefficients = 40 * torch.randn(shape) * (torch.rand(shape) < 0.4)
    steps, survival = 50 * torch.rand(3, COEFFICIENT_CHANNELS), torch.rand(3, COEFFICIENT_CHANNELS)
    steps[1, 64:] = 0  # a photo without colour
    scale, primary_quality = torch.tensor([[1.0, 1.0], [3.0, 3.0], [99.0, 99.0]]), torch.zeros(3)

    surviving = steps * survival
    kept = (coefficients != 0) * 0.4 * torch.log1p(surviving)[:, :, None, None]
    magnitude = torch.log1p((coefficients * survival[:, :, None, None]).abs() / 8)
    context = torch.cat(
        [0.5 * (torch.log1p(surviving) - 3), 2 * scale.clamp(max=4).log(), torch.zeros(3, 2)], 1
    )
    x = functional.conv2d(torch.cat([magnitude, kept], 1), fde.block.weight, fde.block.bias)
    x = functional.leaky_relu(x + fde.context(context)[:, :, None, None], 0.1)
    x = fde.head(functional.leaky_relu(fde.neighbours(x), 0.1))
    share = surviving_share(steps, survival, fde.typical_energy)
    expected = torch.cat([x[:, :1].abs() * share[:, None, None, None], x[:, 1:]], 1)

    fdm, summary = fde(coefficients, steps, survival, scale, primary_quality, summarize=True)
    torch.testing.assert_close(fdm, expected, rtol=1e-5, atol=1e-5)
    averages = [magnitude.mean((2, 3)), (coefficients != 0).float().mean((2, 3))]
    torch.testing.assert_close(summary, torch.cat([context, *averages], 1), rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        _, inferred = fde(coefficients, steps, survival, scale, primary_quality, summarize=True)
    torch.testing.assert_close(inferred, summary.detach())


def test_modules_of_before_read_the_files_own_steps_and_drift_by_what_survives() -> None:
    fde = FDENet(fdm_channels=4, width=6, scales=(0.8, 1.3), reads_surviving=False)
    coefficients = 40 * torch.randn(2, COEFFICIENT_CHANNELS, 4, 4)
    steps, primary_quality = 50 * torch.rand(2, COEFFICIENT_CHANNELS), torch.zeros(2)
    whole, part = torch.ones(2, COEFFICIENT_CHANNELS), torch.full((2, COEFFICIENT_CHANNELS), 0.25)
    with torch.no_grad():
        expected, _ = fde(coefficients, steps, whole, torch.full((2, 2), 1.3), primary_quality)
        fdm, _ = fde(coefficients, steps, part, torch.full((2, 2), 9.0), primary_quality)
    torch.testing.assert_close(fdm[:, :1], expected[:, :1] / 4)
    assert torch.equal(fdm[:, 1:], expected[:, 1:])


def test_the_surviving_share_weighs_frequencies_by_their_noise() -> None:
    steps, survival = torch.zeros(1, COEFFICIENT_CHANNELS), torch.ones(1, COEFFICIENT_CHANNELS)
    steps[0, 0], steps[0, 63] = 12.0, 1200.0  # of which the second can lose no more than there is
    energy = torch.full((COEFFICIENT_CHANNELS,), 4.0)
    energy[0] = torch.inf
    survival[0, 63] = 0.5
    lost = 1 / (12 / 1200**2 + 1 / 4)
    expected = ((12.0 + lost / 4) / (12.0 + lost)) ** 0.5
    assert surviving_share(steps, survival, energy).item() == pytest.approx(expected)
    assert surviving_share(steps, torch.ones_like(survival), energy).item() == 1
    assert surviving_share(torch.zeros_like(steps), survival, energy).item() == 0
