"""The features of a classifier's stem, without running the rest of the network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dctafd.errors import WeightsError
from dctafd.nets.layers import find_stem
from dctafd.nets.stem import features_at


class StemFeatures:
    """Maps pixels (B, 3, S, S) to the stem's features (B, C, H, W).

    Args:
        backbone: the classifier; it is left as it is, but moved to the device.
        layer: name of the stem layer, None for a known architecture.
        device: where to run.

    Raises:
        WeightsError: the architecture is not known, or has no such layer.
    """

    def __init__(self, backbone: nn.Module, layer: str | None = None, device: str = "cpu") -> None:
        self._backbone = backbone.eval().to(device)
        self._device = device
        self._layer = layer or find_stem(backbone)
        if self._layer not in dict(self._backbone.named_modules()):
            raise WeightsError(f"{type(backbone).__name__} has no layer {self._layer!r}")

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the features; the forward pass ends at the stem."""
        return features_at(self._backbone, self._layer, pixels.to(self._device))

    @staticmethod
    def block_angles(clean: Tensor, compressed: Tensor, grid: int) -> NDArray[np.float32]:
        """Return the angle in degrees between the C-vectors at each place, averaged in each block.

        Two zero vectors have the angle 0, one has 90.

        Args:
            clean, compressed: (B, C, H, W).
            grid: blocks a side.

        Returns:
            (B, grid, grid).
        """
        a, b = clean.double(), compressed.double()
        lengths = a.norm(dim=1) * b.norm(dim=1)
        cosine = (a * b).sum(1) / lengths.clamp_min(1e-30)
        both_zero = ~(a.any(1) | b.any(1))
        angles = torch.rad2deg(torch.arccos(torch.where(both_zero, 1.0, cosine).clamp(-1, 1)))
        return np.asarray(functional.adaptive_avg_pool2d(angles[:, None], grid)[:, 0].float().cpu().numpy())

    @staticmethod
    def block_squares(features: Tensor, grid: int) -> NDArray[np.float32]:
        """Return the mean square of all features in each block, (B, grid, grid)."""
        squares = features.square().mean(1, keepdim=True)
        return np.asarray(functional.adaptive_avg_pool2d(squares, grid)[:, 0].cpu().numpy())
