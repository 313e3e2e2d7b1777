"""FE-Net: correct feature maps where, and only where, the Feature Drifting Map says that they drifted."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dctafd.nets.in_place import may_overwrite
from dctafd.nets.rep_conv import RepConv

# Of the activations at first; learnt, one for each part, as in the authors' code. With plain ReLUs, whose
# gradient is 0 below 0, a whole layer of FE-Net could go dead in training, and did.
_NEGATIVE_SLOPE = 0.1


class LearntSlope(nn.PReLU):
    """A PReLU of one slope, which `fix` makes a plain number: runtimes fuse that with the layer before."""

    def __init__(self) -> None:
        super().__init__(init=_NEGATIVE_SLOPE)
        self.slope: float | None = None

    def fix(self) -> None:
        """Keep the slope as it is now, or as weights that are loaded later have it."""
        self.slope = self.weight.item()

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        super()._load_from_state_dict(*args, **options)
        if self.slope is not None:
            self.fix()

    def forward(self, x: Tensor) -> Tensor:
        """Return x where it is positive, the slope times x elsewhere."""
        return super().forward(x) if self.slope is None else functional.leaky_relu(x, self.slope)


def resize_to(x: Tensor, other: Tensor) -> Tensor:
    """Resize (B, C, H, W) to `other`'s H and W: block averages to shrink by a whole factor, else bilinear."""
    height, width = x.shape[-2:]
    new_height, new_width = other.shape[-2:]
    if (height, width) == (new_height, new_width):
        return x
    if height % new_height == 0 and width % new_width == 0:
        return functional.avg_pool2d(x, (height // new_height, width // new_width))
    return functional.interpolate(x, (new_height, new_width), mode="bilinear", align_corners=False)


class DriftGate(nn.Module):
    """From the predicted drift to the share of a correction that is applied: 0 at no drift, towards 1."""

    def __init__(self, half_way: float = 0.1) -> None:
        super().__init__()
        self.log_half_way = nn.Parameter(torch.tensor(math.log(half_way)))

    def forward(self, fdm: Tensor) -> Tensor:
        """Return the gate (B, 1, H, W) for an FDM (B, C, H, W) whose channel 0 is the drift."""
        drift = fdm[:, :1]
        return drift / (drift + self.log_half_way.exp())


class FENet(nn.Module):
    """Correct the stem's features: ReLU(stem + gate * correction), the correction from a small U-Net.

    The U-Net works on patches of the stem's map (a quarter of the photo's resolution, where most of the
    cost would be) and, below, on the FDM's block grid. The last layer starts at zero: a new module is the
    identity on the stem.

    Args:
        channels: channels of the stem.
        fdm_channels: channels of the FDM.
        width: channels of the U-Net's upper level; the lower one has twice as many.
        patch: stem cells a side that make one cell of the U-Net's upper level.
        non_negative: whether the stem ends in a ReLU, so that the output does, too.
    """

    def __init__(
        self, channels: int, fdm_channels: int, width: int, patch: int = 2, non_negative: bool = True
    ) -> None:
        super().__init__()
        self.patch, self.non_negative = patch, non_negative
        self.activate = LearntSlope()
        self.encode = nn.Conv2d(channels, width, patch, stride=patch)
        self.above = RepConv(width, width)
        self.below_in = RepConv(width + fdm_channels, 2 * width)
        self.below = RepConv(2 * width, 2 * width)
        self.reduce = nn.Conv2d(2 * width, width, 1)
        self.merge = RepConv(width, width)
        self.gate = DriftGate()
        self.decode = nn.ConvTranspose2d(width, channels, patch, stride=patch, bias=False)
        nn.init.zeros_(self.decode.weight)

    def forward(self, stem: Tensor, fdm: Tensor) -> Tensor:
        """Return the corrected stem (B, C, H, W) for a stem (B, C, H, W) and an FDM (B, F, G, G)."""
        height, width = stem.shape[-2:]
        correction = self.decode(self._gated(stem, fdm))  # (B, C, H, W), or more where the stem was padded
        if correction.shape != stem.shape:
            correction = correction[..., :height, :width]
        return _add(stem, correction, self.non_negative)

    def correct_(self, stem: Tensor, fdm: Tensor) -> Tensor:
        """Do `forward` in the stem's own memory, where its layout allows it, and return it.

        That is for inference, as `StageCorrection.correct_` is: the last layer's matrix product adds what it
        makes. Row r of every patch has a kernel of its own. For one product over all rows its input is as
        wide as all kernels together, and 0 but for the columns of kernel r.
        """
        channels, height, width = stem.shape[1:]
        rows = stem.permute(0, 2, 3, 1)  # (B, H, W, C), as channels_last lays it out
        if height % self.patch or width % self.patch or not rows.is_contiguous():
            return self(stem, fdm)
        inner = self._gated(stem, fdm).permute(0, 2, 3, 1).flatten(0, 1)  # (B H/patch, W/patch, width)
        spread = inner.new_zeros(inner.shape[0], self.patch, inner.shape[1], self.patch, inner.shape[2])
        spread.diagonal(dim1=1, dim2=3).copy_(inner[..., None])  # (B H/patch, W/patch, width, patch)
        kernel = self.decode.weight.permute(2, 0, 3, 1).flatten(2).flatten(0, 1)  # (patch width, patch C)
        rows.view(-1, self.patch * channels).addmm_(spread.view(-1, kernel.shape[0]), kernel)
        return stem.relu_() if self.non_negative else stem

    def _gated(self, stem: Tensor, fdm: Tensor) -> Tensor:
        """Return what the last layer reads (B, width, H/patch, W/patch), the drift gate applied."""
        patches = _pad_to_multiple(stem, self.patch)
        above = _activated(self.encode(patches), self.activate)  # (B, width, H/patch, W/patch)
        above = _activated(self.above(above), self.activate)  # (B, width, H/patch, W/patch)
        below = functional.max_pool2d(above, 2, ceil_mode=True)  # (B, width, H/2/patch, W/2/patch)
        below = _activated(self.below_in(torch.cat([below, resize_to(fdm, below)], 1)), self.activate)
        below = _activated(self.below(below), self.activate)  # (B, 2 width, H/2/patch, W/2/patch)
        both = _add_enlarged(above, self.reduce(below))  # (B, width, H/patch, W/patch)
        merged = _activated(self.merge(both), self.activate)  # (B, width, H/patch, W/patch)
        # The gate is constant over a patch and the last layer has no bias, so gating before it is the same.
        return _times_gate(merged, resize_to(self.gate(fdm), merged))


class NoCorrection(nn.Module):
    """Leaves features as they are, where a module does not correct the stem."""

    def forward(self, stem: Tensor, fdm: Tensor) -> Tensor:
        """Return the stem (B, C, H, W)."""
        return stem

    def correct_(self, stem: Tensor, fdm: Tensor) -> Tensor:
        """Return the stem."""
        return stem


class StageCorrection(nn.Module):
    """A bottleneck 1x1 -> RepConv -> 1x1 that corrects a later stage's features, guided by the FDM.

    The last layer starts at zero, so that a new module is the identity.

    Args:
        channels: channels of the stage.
        fdm_channels: channels of the FDM.
        width: channels inside the bottleneck.
        non_negative: whether the stage ends in a ReLU, so that the output does, too.
    """

    def __init__(self, channels: int, fdm_channels: int, width: int, non_negative: bool = True) -> None:
        super().__init__()
        self.non_negative = non_negative
        self.activate = LearntSlope()
        self.reduce = nn.Conv2d(channels, width, 1)
        self.conv = RepConv(width + fdm_channels, width)
        self.gate = DriftGate()
        self.expand = nn.Conv2d(width, channels, 1, bias=False)
        nn.init.zeros_(self.expand.weight)

    def forward(self, features: Tensor, fdm: Tensor) -> Tensor:
        """Return corrected features (B, C, H, W) for features (B, C, H, W) and an FDM (B, F, G, G)."""
        return _add(features, self.expand(self._gated(features, fdm)), self.non_negative)

    def correct_(self, features: Tensor, fdm: Tensor) -> Tensor:
        """Do `forward` in the features' own memory, where their layout allows it, and return them.

        That is for inference: the matrix product that makes the correction also adds it, so that no map of
        the features' size is written only to be read again.
        """
        rows = features.permute(0, 2, 3, 1)  # (B, H, W, C), as channels_last lays it out
        if not rows.is_contiguous():
            return self(features, fdm)
        inner = self._gated(features, fdm).permute(0, 2, 3, 1).flatten(0, 2)  # (B H W, width)
        rows.view(-1, rows.shape[-1]).addmm_(inner, self.expand.weight.flatten(1).t())
        return features.relu_() if self.non_negative else features

    def _gated(self, features: Tensor, fdm: Tensor) -> Tensor:
        """Return the bottleneck's inner map (B, width, H, W), the drift gate applied."""
        fdm = resize_to(fdm, features)  # (B, F, H, W)
        x = _activated(self.reduce(features), self.activate)  # (B, width, H, W)
        x = _activated(self.conv(torch.cat([x, fdm], 1)), self.activate)  # (B, width, H, W)
        # The last layer has no bias, so gating before it is the same.
        return _times_gate(x, self.gate(fdm))


def _add_enlarged(above: Tensor, below: Tensor) -> Tensor:
    """Add a coarser map, each cell to all that it covers, to a fresh one (B, C, H, W)."""
    height, width = below.shape[-2:]
    if may_overwrite(above) and above.shape[-2:] == (2 * height, 2 * width):
        cells = above.unflatten(2, (height, 2)).unflatten(4, (width, 2))  # (B, C, H/2, 2, W/2, 2), a view
        cells.add_(below[:, :, :, None, :, None])
        return above
    return above + functional.interpolate(below, above.shape[-2:], mode="nearest")


def _times_gate(x: Tensor, gate: Tensor) -> Tensor:
    """Multiply a fresh map (B, C, H, W) by a gate (B, 1, H, W), in its own memory where it may be."""
    return x.mul_(gate) if may_overwrite(x) else x * gate


def _activated(x: Tensor, activate: LearntSlope) -> Tensor:
    """Apply the activation to a fresh map, in its own memory where it may be."""
    if activate.slope is None or not may_overwrite(x):
        return activate(x)
    return functional.leaky_relu_(x, activate.slope)


def _pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, H, W) with zeros below and at the right to a multiple of `multiple`."""
    bottom, right = (-size % multiple for size in x.shape[-2:])
    return functional.pad(x, (0, right, 0, bottom)) if bottom or right else x


def _add(features: Tensor, correction: Tensor, non_negative: bool) -> Tensor:
    """Add features to a fresh correction, in its memory; clip at 0 where the features are never negative."""
    corrected = correction.add_(features)
    return corrected.relu_() if non_negative else corrected
