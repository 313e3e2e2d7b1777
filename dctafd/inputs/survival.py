"""How much of a quantisation error survives decoding at reduced size, upsampling and the resize.

What a step q at frequency (v, u) does to the classifier's pixels depends on how the photo is resized: of a
photo that shrinks, the filter averages most of it away. The *surviving step* is the step that would leave as
much noise in a photo of the same sampling that is not resized at all. It is q times `survival`, a product of
one factor per axis, the response of everything linear between a block's cosine and the classifier's pixels:
libjpeg's reduced inverse DCT, its interpolation of subsampled components, and the triangle filter.
Blocks are taken as independent. Where nothing is resized it is exactly 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.sampling_geometry import AxisScale, SampleGrid
from dctafd_native.resample import PRECISION_BITS
from dctafd_native.survival import surviving_energy

_FULL_BLOCK = 8


class FilteredAxis(NamedTuple):
    """One axis of the resize of a (reduced) picture.

    Attributes:
        pixels: of the reduced picture along the stored axis.
        mirrored: whether the stored axis runs the other way.
        starts, counts, weights: of `resample.bilinear_weights`, along the upright axis.
    """

    pixels: int
    mirrored: bool
    starts: NDArray[np.int32]
    counts: NDArray[np.int32]
    weights: NDArray[np.int32]


class SampledAxis(NamedTuple):
    """One axis of one component, as its samples become pixels of the (reduced) picture.

    Attributes:
        scale: its samples along the axis.
        block_size: samples that a block is inverse-transformed to.
        interpolated: whether samples become pixels by (libjpeg's fancy) linear interpolation.
    """

    scale: AxisScale
    block_size: int
    interpolated: bool


def component_axes(grid: SampleGrid) -> tuple[SampledAxis, SampledAxis]:
    """Return the vertical and the horizontal axis of a component."""
    down = grid.upsampling in ("fancy_h1v2", "fancy_h2v2", "linear")
    across = grid.upsampling in ("fancy_h2v1", "fancy_h2v2", "linear")
    return (
        SampledAxis(grid.down, grid.block_size, down),
        SampledAxis(grid.across, grid.block_size, across),
    )


def axis_survival(axis: FilteredAxis, reduced: SampledAxis, full: SampledAxis) -> NDArray[np.float64]:
    """Return what share of each cosine's amplitude survives along one axis of one component: (8,).

    Args:
        axis: the resize filter.
        reduced: the component in the picture as it is decoded for the classifier.
        full: the same in the picture decoded at full size.
    """
    scale, block_size, interpolated = reduced
    longest = int(axis.counts.max()) * scale.ratio[1] // scale.ratio[0] + 4
    energy = np.empty(8, np.float64)
    surviving_energy(
        axis.starts,
        axis.counts,
        axis.weights,
        axis.pixels,
        axis.mirrored,
        block_size,
        scale.ratio,
        interpolated,
        scale.samples,
        _cosines(block_size),
        np.empty(longest, np.float64),
        energy,
    )
    return np.sqrt(energy / unresized_energy(full.scale.ratio, full.interpolated))


@lru_cache(maxsize=8)
def _cosines(block_size: int) -> NDArray[np.float64]:
    """Return the values of the 8 cosines at a block's samples, (block_size, 8).

    libjpeg's reduced inverse DCTs (jidctred.c) give the means of 2, 4 or 8 samples of the full one.
    """
    n, u = np.arange(_FULL_BLOCK)[:, None], np.arange(8)
    values = np.where(u == 0, 8**-0.5, 0.5) * np.cos((2 * n + 1) * u * np.pi / 16)
    return values.reshape(block_size, -1, 8).mean(1)


@lru_cache(maxsize=32)
def unresized_energy(ratio: tuple[int, int], interpolated: bool) -> NDArray[np.float64]:
    """Return the energy of each cosine in a picture that is decoded at full size and not resized: (8,)."""
    blocks = 3 * ratio[1]
    pixels = _FULL_BLOCK * blocks * ratio[0] // ratio[1]
    inside = np.arange(pixels // 3, 2 * pixels // 3, dtype=np.int32)
    energy = np.empty(8, np.float64)
    surviving_energy(
        inside,
        np.ones_like(inside),
        np.full((len(inside), 1), 1 << PRECISION_BITS, np.int32),
        pixels,
        False,
        _FULL_BLOCK,
        ratio,
        interpolated,
        _FULL_BLOCK * blocks,
        _cosines(_FULL_BLOCK),
        np.empty(8, np.float64),
        energy,
    )
    return energy
