"""FDE-Net: from a file's own DCT coefficients and quantisation tables to the Feature Drifting Map (FDM)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.nets.rep_conv import RepConv
from dctafd_native.block_layer import KEPT_UNIT, LEAST_SURVIVAL, MAGNITUDE_UNIT

COEFFICIENT_CHANNELS = 192  # 64 frequencies each of Y, Cb and Cr, natural order
CONTEXT_CHANNELS = COEFFICIENT_CHANNELS + 4  # steps, scale (2), primary quality known, its table scale

SUMMARY_CHANNELS = CONTEXT_CHANNELS + 2 * COEFFICIENT_CHANNELS

#: Scales that the context tells apart. What survives the resize says the rest: told the scale beyond 4,
#: trained networks predicted more drift at scale 8 than at 4.
KNOWN_SCALES = (0.5, 4.0)

_BEYOND_ALL = 1e30  # times the least magnitude is more than 1

_FIRST_DRIFT = 0.2  # what a new network predicts, about what quality 10 does to a stem


class BlockSums(NamedTuple):
    """What FDE-Net reads in place of coefficients where its first layer has run already (`block_sums`).

    Attributes:
        sums: (B, width, G, G), of its 1x1 convolution, without context and bias.
        sizes: (B, 384), mean magnitude of each channel, and share of blocks in which it is not 0.
    """

    sums: Tensor
    sizes: Tensor


class FDENet(nn.Module):
    """Estimate, block by block, how far a classifier's stem features have drifted.

    Each cell of the grid sees how large its block's coefficients are, which of them the quantiser kept and
    how coarsely, and the whole photo's context: all steps, the scale and the primary quality. A 3x3
    convolution lets neighbouring blocks agree. Signs are left out: they say where a block is bright, which
    the stem knows, and little of how far it drifted.

    All of it is seen at the classifier's scale: steps and magnitudes count as far as they survive the resize,
    and so does the drift: what the network makes of them is multiplied by `surviving_share`.

    Args:
        fdm_channels: channels of the FDM; channel 0 is the predicted drift, non-negative.
        width: hidden channels.
        scales: lowest and highest scale that the network is told; others count as the nearest.
        reads_surviving: whether the network reads surviving steps and magnitudes, or those of the file, as
            modules did that were trained before.
    """

    typical_energy: Tensor

    def __init__(
        self,
        fdm_channels: int = 16,
        width: int = 48,
        scales: tuple[float, float] = KNOWN_SCALES,
        reads_surviving: bool = True,
    ) -> None:
        super().__init__()
        self.scales, self.reads_surviving = scales, reads_surviving
        self.block = nn.Conv2d(2 * COEFFICIENT_CHANNELS, width, 1)
        self.context = nn.Linear(CONTEXT_CHANNELS, width)
        self.neighbours = RepConv(width, width)
        self.head = nn.Conv2d(width, fdm_channels, 1)
        nn.init.constant_(self.head.bias[:1], _FIRST_DRIFT)  # type: ignore[index]
        with torch.no_grad():
            self.head.weight[:1] *= 0.1
        self.register_buffer("typical_energy", _typical_energy(), persistent=False)

    def forward(
        self,
        coefficients: Tensor | BlockSums,
        steps: Tensor,
        survival: Tensor,
        scale: Tensor,
        primary_quality: Tensor,
        summarize: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the FDM, (B, fdm_channels, G, G), and a summary of what was read.

        Args:
            coefficients: (B, 192, G, G), dequantised, or what `block_sums` makes of them.
            steps: (B, 192), of the quantiser, 0 where the photo has no such component.
            survival: (B, 192), what share of each step's noise survives the resize.
            scale: (B, 2), stored pixels per classifier pixel.
            primary_quality: (B,), 0 where unknown.
            summarize: whether to return the summary (B, SUMMARY_CHANNELS) of the whole photo: its context,
                the mean magnitude of each frequency and the share of blocks that have it; else it is None.
        """
        share = surviving_share(steps, survival, self.typical_energy)  # (B,)
        if not self.reads_surviving:
            survival = torch.ones_like(survival)
        surviving = steps * survival  # (B, 192)
        context = _context(surviving, scale.clamp(*self.scales), primary_quality)  # (B, CONTEXT_CHANNELS)
        sizes: Tensor | None = None  # (B, 384)
        assert self.block.bias is not None
        of_photo = self.context(context) + self.block.bias  # (B, width)
        if isinstance(coefficients, BlockSums):
            x, sizes = coefficients.sums + of_photo[:, :, None, None], coefficients.sizes
        else:
            magnitude = _magnitude(coefficients, survival).flatten(2)  # (B, 192, G G)
            kept = _kept(magnitude)  # (B, 192, G G)
            sizes = torch.cat([magnitude.mean(2), kept.mean(2)], 1) if summarize else None
            x = self._blocks(magnitude, kept, KEPT_UNIT * torch.log1p(surviving), of_photo)  # (B, width, G G)
            x = x.unflatten(2, coefficients.shape[2:])
        x = _leaky(x)  # (B, width, G, G)
        x = _leaky(self.neighbours(x))  # (B, width, G, G)
        fdm = self.head(x)  # (B, fdm_channels, G, G)
        # |x| and not softplus or ReLU, whose gradient dies when a training overshoots.
        drift = fdm[:, :1].abs() * share[:, None, None, None]
        summary = torch.cat([context, sizes], 1) if summarize and sizes is not None else None
        return torch.cat([drift, fdm[:, 1:]], 1), summary

    def _blocks(self, magnitude: Tensor, kept: Tensor, kept_weight: Tensor, of_photo: Tensor) -> Tensor:
        """Return `block` of magnitudes (B, 192, G G) and kept steps, `of_photo` added: (B, width, G G).

        The log step of a coefficient that is not zero, 0 elsewhere, is the second half of what `block` reads,
        so that it knows each one's error. A photo has one step for a whole channel, `kept_weight` (B, 192),
        so it is multiplied into the kernel, and the map of 384 channels is never written.
        """
        kernel, kept_kernel = self.block.weight.flatten(1).split(COEFFICIENT_CHANNELS, 1)  # (width, 192) each
        kept_kernel = kept_kernel * kept_weight[:, None]  # (B, width, 192)
        kernel = kernel.expand(magnitude.shape[0], -1, -1)  # (B, width, 192)
        x = torch.baddbmm(of_photo[:, :, None], kernel, magnitude)  # (B, width, G G)
        return torch.baddbmm(x, kept_kernel, kept)


def surviving_share(steps: Tensor, survival: Tensor, energy: Tensor) -> Tensor:
    """Return what share of the quantisation noise's amplitude survives the resize, (B,), 1 at scale 1.

    A step q makes noise of q^2 / 12 where coefficients are large, and where the quantiser removes them
    loses their own energy: the noise is taken as what is left of both, 1 / (12 / q^2 + 1 / energy).

    Args:
        steps, survival: (B, 192), the steps of the quantiser.
        energy: (192,), typical mean squared coefficients.
    """
    noise = steps.square() / 12  # (B, 192)
    noise = noise / (1 + noise / energy)
    left = (noise * survival.square()).sum(1)  # (B,)
    return (left / noise.sum(1).clamp(min=1e-9)).sqrt()


def _typical_energy() -> Tensor:
    """Mean squared coefficients of natural photos by frequency, (192,), in natural order of Y, Cb and Cr.

    Power laws fitted to 300 photos (4:2:0, quality 98); those at frequency 0 are never lost as a whole.
    """
    down, across = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    radius = torch.hypot(down, across).flatten()  # (64,)
    luma, chroma = 9000 * radius**-2.3, 750 * radius**-3.0  # infinite at frequency 0
    return torch.cat([luma, chroma, chroma])


def _leaky(x: Tensor) -> Tensor:
    """Leaky ReLU; plain ones died here when a training overshot."""
    return functional.leaky_relu(x, 0.1)


def _magnitude(coefficients: Tensor, survival: Tensor) -> Tensor:
    """Compress the sizes of what survives, which reach over four decades; 0 where the coefficient is 0."""
    factors = MAGNITUDE_UNIT * survival.clamp(min=LEAST_SURVIVAL)  # (B, 192)
    return coefficients.abs().mul_(factors[:, :, None, None]).log1p_()


def _kept(magnitude: Tensor) -> Tensor:
    """Return 1 where a coefficient was kept, 0 elsewhere; the magnitude is 0 where the coefficient is."""
    if torch.compiler.is_compiling():  # runtimes of graphs have no fast sign
        return (magnitude * _BEYOND_ALL).clamp(max=1)
    return magnitude.sign()


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
