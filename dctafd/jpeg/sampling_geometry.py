"""Where a component's samples lie under the picture's pixels, at full size and at libjpeg's reduced sizes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from dctafd.jpeg.coefficients import ComponentHeader, JpegHeader

Upsampling = Literal["none", "fancy_h2v1", "fancy_h1v2", "fancy_h2v2", "replicate", "linear"]
Region = tuple[int, int, int, int]  # left, top, right, bottom; ends exclusive


@dataclass(frozen=True, slots=True)
class AxisScale:
    """One axis of one component at one reduction.

    Attributes:
        samples: samples of the component along the axis that belong to the picture.
        pixels_per_sample: how many pixels of the (reduced) picture a sample covers, at least 1.
    """

    samples: int
    pixels_per_sample: Fraction

    def window(self, start: int, stop: int, neighbors: bool) -> tuple[int, int]:
        """Return the samples, end exclusive, that pixels start..stop-1 are made of."""
        half = Fraction(1, 2) if neighbors and self.pixels_per_sample != 1 else Fraction(0)
        first = (start + half) / self.pixels_per_sample - half
        last = (stop - 1 + half) / self.pixels_per_sample + half
        return max(int(first // 1), 0), min(int(last // 1) + 1, self.samples)


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


def reduced_size(header: JpegHeader, reduction: int) -> tuple[int, int]:
    """Return (width, height) of the picture decoded at 1/reduction, rounded up as libjpeg does."""
    return -(-header.width // reduction), -(-header.height // reduction)


def sample_grids(header: JpegHeader, reduction: int = 1) -> list[SampleGrid]:
    """Return each component's `SampleGrid` when the picture is decoded at 1/reduction (1, 2, 4 or 8).

    As in libjpeg (jdmaster.c), a subsampled component is reduced less where that saves upsampling it.
    """
    h_max = max(component.h for component in header.components)
    v_max = max(component.v for component in header.components)
    return [_sample_grid(header, component, h_max, v_max, 8 // reduction) for component in header.components]


def _sample_grid(
    header: JpegHeader, component: ComponentHeader, h_max: int, v_max: int, picture_size: int
) -> SampleGrid:
    size = picture_size
    while (
        size < 8
        and h_max * picture_size % (component.h * size * 2) == 0
        and v_max * picture_size % (component.v * size * 2) == 0
    ):
        size *= 2
    across = AxisScale(
        -(-header.width * component.h * size // (h_max * 8)),
        Fraction(h_max * picture_size, component.h * size),
    )
    down = AxisScale(
        -(-header.height * component.v * size // (v_max * 8)),
        Fraction(v_max * picture_size, component.v * size),
    )
    return SampleGrid(size, down, across, _upsampling(across, down, fancy=picture_size > 1))


def _upsampling(across: AxisScale, down: AxisScale, fancy: bool) -> Upsampling:
    """Choose as jinit_upsampler does (jdsample.c); ratios that libjpeg refuses are interpolated linearly."""
    ratio = (across.pixels_per_sample, down.pixels_per_sample)
    if ratio == (1, 1):
        return "none"
    if ratio[0].denominator != 1 or ratio[1].denominator != 1:
        return "linear"
    if fancy and ratio == (1, 2):
        return "fancy_h1v2"
    if fancy and across.samples > 2 and ratio == (2, 1):
        return "fancy_h2v1"
    if fancy and across.samples > 2 and ratio == (2, 2):
        return "fancy_h2v2"
    return "replicate"
