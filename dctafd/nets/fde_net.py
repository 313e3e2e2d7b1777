"""FDE-Net: from a file's own DCT coefficients and quantisation tables to the Feature Drifting Map (FDM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.nets.in_place import may_overwrite
from dctafd.nets.rep_conv import RepConv

COEFFICIENT_CHANNELS = 192  # 64 frequencies each of Y, Cb and Cr, natural order
CONTEXT_CHANNELS = COEFFICIENT_CHANNELS + 4  # steps, scale (2), primary quality known, its table scale

_FIRST_DRIFT = 0.2  # what a new network predicts, about what quality 10 does to a stem


class FDENet(nn.Module):
    """Estimate, block by block, how far a classifier's stem features have drifted.

    Each cell of the grid sees how large its block's coefficients are, which of them the quantiser kept and
    how coarsely, and the whole photo's context: all steps, the scale and the primary quality. A 3x3
    convolution lets neighbouring blocks agree. Signs are left out: they say where a block is bright, which
    the stem knows, and little of how far it drifted.

    Args:
        fdm_channels: channels of the FDM; channel 0 is the predicted drift, non-negative.
        width: hidden channels.
    """

    def __init__(self, fdm_channels: int = 16, width: int = 48) -> None:
        super().__init__()
        self.block = nn.Conv2d(2 * COEFFICIENT_CHANNELS, width, 1)
        self.context = nn.Linear(CONTEXT_CHANNELS, width)
        self.neighbours = RepConv(width, width)
        self.head = nn.Conv2d(width, fdm_channels, 1)
        nn.init.constant_(self.head.bias[:1], _FIRST_DRIFT)  # type: ignore[index]
        with torch.no_grad():
            self.head.weight[:1] *= 0.1

    def forward(self, coefficients: Tensor, steps: Tensor, scale: Tensor, primary_quality: Tensor) -> Tensor:
        """Return the FDM, (B, fdm_channels, G, G); shapes of the inputs as in `InputBatch`.

        Args:
            coefficients: (B, 192, G, G), dequantised.
            steps: (B, 192), 0 where the photo has no such component.
            scale: (B, 2), stored pixels per classifier pixel.
            primary_quality: (B,), 0 where unknown.
        """
        context = self.context(_context(steps, scale, primary_quality))  # (B, width)
        x = _leaky(self._blocks(coefficients, steps, context))  # (B, width, G, G)
        x = _leaky(self.neighbours(x))  # (B, width, G, G)
        fdm = self.head(x)  # (B, fdm_channels, G, G)
        # |x| and not softplus or ReLU, whose gradient dies when a training overshoots.
        return torch.cat([fdm[:, :1].abs(), fdm[:, 1:]], 1)

    def _blocks(self, coefficients: Tensor, steps: Tensor, context: Tensor) -> Tensor:
        """Return `block` of magnitudes and kept steps, with the context (B, width) added: (B, width, G, G).

        The log step of a coefficient that is not zero, 0 elsewhere, is the second half of what `block` reads,
        so that it knows each one's error. A photo has one step for a whole channel, so it is multiplied into
        the kernel, and the map of 384 channels is never written.
        """
        magnitude = _magnitude(coefficients).flatten(2)  # (B, 192, G G)
        kernel, kept_kernel = self.block.weight.flatten(1).split(COEFFICIENT_CHANNELS, 1)  # (width, 192) each
        kept_kernel = kept_kernel * (0.4 * torch.log1p(steps))[:, None]  # (B, width, 192)
        assert self.block.bias is not None
        x = (context + self.block.bias)[:, :, None]  # (B, width, 1)
        x = torch.baddbmm(x, kernel.expand(steps.shape[0], -1, -1), magnitude)  # (B, width, G G)
        # The magnitude is 0 where the coefficient is.
        kept = magnitude.sign_() if may_overwrite(magnitude) else magnitude.sign()  # (B, 192, G G)
        x = torch.baddbmm(x, kept_kernel, kept)
        return x.unflatten(2, coefficients.shape[2:])


def _leaky(x: Tensor) -> Tensor:
    """Leaky ReLU; plain ones died here when a training overshot."""
    return functional.leaky_relu(x, 0.1)


def _magnitude(coefficients: Tensor) -> Tensor:
    """Compress the coefficients' sizes, which reach over four decades; 0 where the coefficient is 0 alone."""
    return coefficients.abs().mul_(0.125).log1p_()


def _context(steps: Tensor, scale: Tensor, primary_quality: Tensor) -> Tensor:
    """Return what holds for the whole photo, (B, CONTEXT_CHANNELS), each about 0 in the mean."""
    known = (primary_quality > 0).to(steps.dtype)[:, None]  # (B, 1)
    table_scale = torch.log1p(_ijg_scale(primary_quality))[:, None]  # (B, 1)
    return torch.cat(
        [
            0.5 * (torch.log1p(steps) - 3),
            2 * torch.log(scale.clamp(min=1e-3)),
            known,
            known * 0.5 * (table_scale - 4),
        ],
        1,
    )


def _ijg_scale(quality: Tensor) -> Tensor:
    """The percentage by which IJG quality 1..100 scales its base tables (libjpeg, jcparam.c)."""
    quality = quality.clamp(1, 100)
    return torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
