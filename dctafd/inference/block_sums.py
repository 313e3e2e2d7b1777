"""FDE-Net's first layer as a kernel: it is fastest where most coefficients are zero and skipped."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dctafd.inputs.model_input import Stack
from dctafd_native.block_layer import KEPT_UNIT, LANES, LEAST_SURVIVAL, MAGNITUDE_UNIT, add_blocks

if TYPE_CHECKING:
    from dctafd.nets.fde_net import FDENet


@dataclass(frozen=True, slots=True, eq=False)
class FirstLayer:
    """The weights of `FDENet.block`.

    Attributes:
        weights: (2, 192, width) float32, of the magnitudes and of the steps of what was kept.
        reads_surviving: whether FDE-Net reads both as they survive the resize, or those of the file.
    """

    weights: NDArray[np.float32]
    reads_surviving: bool

    def save(self, path: Path) -> None:
        """Write the weights as an .npy file."""
        np.save(path, self.weights, allow_pickle=False)

    @classmethod
    def load(cls, path: Path, reads_surviving: bool) -> FirstLayer:
        """Read what `save` wrote."""
        return cls(np.load(path, allow_pickle=False), reads_surviving)

    def sums(
        self, coefficients: Stack, steps: NDArray[np.float32], survival: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `dctafd.nets.fde_net.BlockSums` holds: (B, width, G, G) and (B, 384), float32.

        Args:
            coefficients: (B, 192, G, G), or a list of B arrays, int16 or float32.
            steps, survival: (B, 192).
        """
        photos, channels = steps.shape
        grid = coefficients[0].shape[1:]
        width = self.weights.shape[2]
        shares = survival if self.reads_surviving else np.ones_like(survival)
        factors = np.maximum(shares, LEAST_SURVIVAL) * np.float32(MAGNITUDE_UNIT)
        of_kept = np.float32(KEPT_UNIT) * np.log1p(steps * shares)  # (B, 192)
        kept_weights = of_kept[:, :, None] * self.weights[1]  # (B, 192, width)
        cells = prod(grid)
        room = np.empty(cells + LANES, np.int32), *np.empty((2, cells + LANES), np.float32)
        sums = np.zeros((photos, cells, width), np.float32)
        sizes = np.empty((photos, 2, channels), np.float32)
        for photo, blocks in enumerate(coefficients):
            flat = np.ascontiguousarray(blocks).reshape(channels, -1)
            add_blocks(
                flat, factors[photo], self.weights[0], kept_weights[photo], *room, sums[photo], sizes[photo]
            )
        by_channel = np.ascontiguousarray(sums.transpose(0, 2, 1))
        return by_channel.reshape(photos, width, *grid), sizes.reshape(photos, -1)


def first_layer_of(fde: FDENet) -> FirstLayer:
    """Return FDE-Net's first layer as NumPy has it."""
    weight = fde.block.weight.detach().flatten(1)  # (width, 384)
    weights = weight.unflatten(1, (2, -1)).permute(1, 2, 0)  # (2, 192, width)
    return FirstLayer(np.ascontiguousarray(weights.numpy()), fde.reads_surviving)
