"""Where a component's samples lie under the picture's pixels, at full size and at libjpeg's reduced sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Literal

Upsampling = Literal["none", "fancy_h2v1", "fancy_h1v2", "fancy_h2v2", "replicate", "linear"]
Region = tuple[int, int, int, int]  # left, top, right, bottom; ends exclusive


@dataclass(frozen=True, slots=True)
class AxisScale:
    """One axis of one component at one reduction.

    Attributes:
        samples: samples of the component along the axis that belong to the picture.
        ratio: (numerator, denominator), in lowest terms, of pixels of the (reduced) picture a sample; >= 1.
    """

    samples: int
    ratio: tuple[int, int]

    def window(self, start: int, stop: int, neighbors: bool) -> tuple[int, int]:
        """Return the samples, end exclusive, that pixels start..stop-1 are made of."""
        pixels, samples = self.ratio
        if not neighbors or pixels == samples:
            return start * samples // pixels, (stop - 1) * samples // pixels + 1
        first = ((2 * start + 1) * samples - pixels) // (2 * pixels)
        last = ((2 * stop - 1) * samples + pixels) // (2 * pixels)
        return max(first, 0), min(last + 1, self.samples)


@dataclass(frozen=True, slots=True)
class SampleGrid:
    """One component's samples at one reduction of the picture.

    Attributes:
        block_size: samples a side that a block is inverse-transformed to: 8, 4, 2 or 1.
        down, across: the vertical and the horizontal axis.
        upsampling: how its samples become pixels.
    """

    block_size: int
    down: AxisScale
    across: AxisScale
    upsampling: Upsampling

    def block_window(self, region: Region) -> tuple[int, int, int, int]:
        """Return (top, bottom, left, right) of the blocks, ends exclusive, that `region` needs."""
        left, top, right, bottom = region
        neighbors = self.upsampling not in ("none", "replicate")
        rows = self.down.window(top, bottom, neighbors)
        columns = self.across.window(left, right, neighbors)
        size = self.block_size
        return rows[0] // size, -(-rows[1] // size), columns[0] // size, -(-columns[1] // size)


@lru_cache(maxsize=256)
def sample_grids(
    width: int, height: int, factors: tuple[tuple[int, int], ...], reduction: int = 1
) -> tuple[SampleGrid, ...]:
    """Return each component's `SampleGrid` when a picture is decoded at 1/reduction (1, 2, 4 or 8).

    `factors` are the components' (h, v). As in libjpeg (jdmaster.c), a subsampled component is reduced less
    where that saves upsampling it.
    """
    picture_size = 8 // reduction
    h_max, v_max = (max(axis) for axis in zip(*factors, strict=True))
    grids = []
    for h, v in factors:
        size = picture_size
        while (
            size < 8
            and h_max * picture_size % (h * size * 2) == 0
            and v_max * picture_size % (v * size * 2) == 0
        ):
            size *= 2
        across = _axis_scale(width, h * size, h_max, picture_size)
        down = _axis_scale(height, v * size, v_max, picture_size)
        upsampling = _upsampling(across, down, fancy=picture_size > 1)
        grids.append(SampleGrid(size, down, across, upsampling))
    return tuple(grids)


def _axis_scale(length: int, samples: int, factor_max: int, picture_size: int) -> AxisScale:
    """Return the scale of an axis that has `samples` samples where the largest factor has 8 * factor_max."""
    pixels = factor_max * picture_size
    common = gcd(pixels, samples)
    return AxisScale(-(-length * samples // (factor_max * 8)), (pixels // common, samples // common))


def _upsampling(across: AxisScale, down: AxisScale, fancy: bool) -> Upsampling:
    """Choose as jinit_upsampler does (jdsample.c); ratios that libjpeg refuses are interpolated linearly."""
    (h_pixels, h_samples), (v_pixels, v_samples) = across.ratio, down.ratio
    if (h_samples, v_samples) != (1, 1):
        return "linear"
    ratio = (h_pixels, v_pixels)
    if ratio == (1, 1):
        return "none"
    if fancy and ratio == (1, 2):
        return "fancy_h1v2"
    if fancy and across.samples > 2 and ratio == (2, 1):
        return "fancy_h2v1"
    if fancy and across.samples > 2 and ratio == (2, 2):
        return "fancy_h2v2"
    return "replicate"
