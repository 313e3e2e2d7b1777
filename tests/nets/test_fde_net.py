"""FDE-Net's first layer, which never writes the map that it reads, against the plain convolution over it."""

import torch
from torch.nn import functional

from dctafd.nets.fde_net import COEFFICIENT_CHANNELS, FDENet


def test_the_first_layer_is_a_convolution_over_magnitudes_and_kept_steps() -> None:
    torch.manual_seed(0)
    fde, width = FDENet(fdm_channels=4, width=6), 6
    shape = (3, COEFFICIENT_CHANNELS, 5, 7)
    coefficients = 40 * torch.randn(shape) * (torch.rand(shape) < 0.4)
    steps, context = 50 * torch.rand(3, COEFFICIENT_CHANNELS), torch.randn(3, width)
    steps[1, 64:] = 0  # a photo without colour
    kept = (coefficients != 0) * 0.4 * torch.log1p(steps)[:, :, None, None]
    read = torch.cat([torch.log1p(coefficients.abs() / 8), kept], 1)
    expected = functional.conv2d(read, fde.block.weight, fde.block.bias) + context[:, :, None, None]
    made = fde._blocks(coefficients, steps, context)
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
