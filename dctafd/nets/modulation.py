"""Modulation: batch norms of a frozen classifier, conditioned on how the photo was compressed.

After a batch norm, before its activation, each channel y becomes y (1 + gain) + shift. Gains and shifts
come from a small network that reads what holds for the whole photo, the file's tables above all: conditional
batch norm (de Vries et al., NeurIPS 2017) on quantisation tables. The spatial corrections of FE-Net add where
in the photo the drift is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from dctafd.nets.fde_net import SUMMARY_CHANNELS
from dctafd.nets.fe_net import DriftGate
from dctafd.nets.in_place import may_overwrite


class Affine(NamedTuple):
    """What a photo's channels after one batch norm are multiplied by and what is added: (B, C, 1, 1) each."""

    gain: Tensor
    shift: Tensor

    def __call__(self, y: Tensor) -> Tensor:
        """Return the modulated map for a fresh one (B, C, H, W), in its memory where it may be."""
        if may_overwrite(y):
            return torch.addcmul(self.shift, y, self.gain, out=y)
        return torch.addcmul(self.shift, y, self.gain)


class Modulation(nn.Module):
    """From a photo's summary to gains and shifts; a new one changes nothing, nor does one without drift.

    Args:
        channels: of each batch norm that is modulated.
        width: hidden channels.
    """

    def __init__(self, channels: Sequence[int], width: int = 64) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.hidden = nn.Sequential(
            nn.Linear(SUMMARY_CHANNELS, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.last = nn.Linear(width, 2 * sum(self.channels))
        self.gate = DriftGate()
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, summary: Tensor, fdm: Tensor) -> list[Affine]:
        """Return one `Affine` for each batch norm.

        Args:
            summary: (B, SUMMARY_CHANNELS), from `FDENet`.
            fdm: (B, F, G, G), whose channel 0 is the drift; its mean gates all of them.
        """
        gate = self.gate(fdm[:, :1].mean((2, 3), keepdim=True))  # (B, 1, 1, 1)
        hidden = self.hidden(summary)[:, :, None, None]  # (B, width, 1, 1)
        if torch.compiler.is_compiling():
            return self._by_convolutions(hidden, gate)
        changes = self.last(hidden.flatten(1))[:, :, None, None] * gate  # (B, 2 sum(channels), 1, 1)
        gains, shifts = changes.chunk(2, 1)
        return [
            Affine(1 + gain, shift)
            for gain, shift in zip(gains.split(self.channels, 1), shifts.split(self.channels, 1), strict=True)
        ]

    def _by_convolutions(self, hidden: Tensor, gate: Tensor) -> list[Affine]:
        """Do the rest of `forward` with a 1x1 convolution for each gain and each shift.

        What convolutions make has the layout of the features, so that OpenVINO multiplies, adds, and adds the
        residual, in one pass over them; of slices of one tensor it makes two or three.
        """
        gated = torch.cat([hidden, torch.ones_like(gate)], 1) * gate  # (B, width + 1, 1, 1)
        weight = torch.cat([self.last.weight, self.last.bias[:, None]], 1)[:, :, None, None]
        gains, shifts = (half.split(self.channels) for half in weight.chunk(2))
        return [
            Affine(conv2d(gated, gain, gain.new_ones(len(gain))), conv2d(gated, shift))
            for gain, shift in zip(gains, shifts, strict=True)
        ]
