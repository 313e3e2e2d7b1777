"""Pixels from coefficients, equal to libjpeg-turbo's (Pillow's) to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import JpegCoefficients, JpegHeader
from dctafd.jpeg.sampling_geometry import Region, SampleGrid, sample_grids
from dctafd.jpeg.scratch import scratch
from dctafd.jpeg.smoothing import with_lowest
from dctafd_native import color, idct, upsample

_SAMPLES, _UPSAMPLED = (
    tuple(f"{name} of component {index}" for index in range(4)) for name in ("samples", "pixels")
)
STRIP_PIXELS = 1 << 20  # decode() holds the planes of about so many pixels at once


def decode(jpeg: JpegCoefficients, region: Region | None = None) -> NDArray[np.uint8]:
    """Decode a photo, or a part of it, to RGB as stored (EXIF orientation is not applied).

    Equals Pillow's ``Image.open(...).convert("RGB")``: the accurate integer inverse DCT, fancy upsampling,
    CMYK and YCCK as Adobe stores them, without colour profiles; blocks of which a progressive file did not
    give all bits are smoothed. Sampling ratios that libjpeg refuses are interpolated linearly. Only those
    blocks that `region` needs are inverse-transformed.

    Args:
        jpeg: what `dctafd.read` returned.
        region: (left, top, right, bottom) in stored pixels, ends exclusive; None for all.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: the region is empty or not inside the picture, or a component has too few blocks for it.

    Example:
        >>> dctafd.decode(dctafd.read("photo.jpg"), region=(0, 0, 64, 48)).shape
        (48, 64, 3)
    """
    left, top, right, bottom = region = region or (0, 0, jpeg.width, jpeg.height)
    if not (0 <= left < right <= jpeg.width and 0 <= top < bottom <= jpeg.height):
        raise ValueError(f"region {region} is not inside a picture of {jpeg.width}x{jpeg.height} pixels")
    coefficients = [
        with_lowest(np.ascontiguousarray(component.coefficients, np.int16), component.lowest)
        for component in jpeg.components
    ]
    out = np.empty((bottom - top, right - left, 3), np.uint8)
    rows = max(STRIP_PIXELS // (right - left) // 64, 1) * 64
    for start in range(top, bottom, rows):
        stop = min(start + rows, bottom)
        decode_window(jpeg, coefficients, (left, start, right, stop), out=out[start - top : stop - top])
    return out


def decode_window(
    header: JpegHeader,
    coefficients: Sequence[NDArray[np.int16]],
    region: Region,
    *,
    out: NDArray[np.uint8],
    reduction: int = 1,
    origins: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Decode the pixels of `region` into `out`, (height, width, 3) uint8 C-contiguous.

    Args:
        header, coefficients, region, reduction, origins: as for `decode_planes`.
        out: filled.
    """
    to_rgb(header, _component_planes(header, coefficients, region, reduction, origins), out)


def decode_planes(
    header: JpegHeader,
    coefficients: Sequence[NDArray[np.int16]],
    region: Region,
    *,
    reduction: int = 1,
    origins: Sequence[tuple[int, int]] | None = None,
) -> NDArray[np.uint8]:
    """Decode the pixels of `region` of a picture reduced to 1/reduction, in one piece.

    Args:
        header: the photo's header facts.
        coefficients: one array per component, (block rows, block columns, 8, 8) int16 C-contiguous;
            (.., 1, 1) will do for components that are reduced to one sample per block.
        region: (left, top, right, bottom) in pixels of the reduced picture, inside it.
        reduction: 1, 2, 4 or 8.
        origins: (row, column) of each array's first block in its component; (0, 0) if None.

    Returns:
        (3, height, width) uint8, red, green and blue; (1, height, width) of a gray photo. The memory is
        `scratch`'s.
    """
    planes = _component_planes(header, coefficients, region, reduction, origins)
    if header.color_space == "gray":
        return planes[0][None]
    out = scratch("planes", (3, *planes[0].shape), np.uint8)
    if header.color_space == "ycbcr":
        color.ycc_to_planes(*planes, out)
    elif header.color_space == "rgb":
        np.stack(planes, out=out)
    else:
        pixels = scratch("pixels", (*planes[0].shape, 3), np.uint8)
        to_rgb(header, planes, pixels)
        out[:] = pixels.transpose(2, 0, 1)
    return out


def _component_planes(
    header: JpegHeader,
    coefficients: Sequence[NDArray[np.int16]],
    region: Region,
    reduction: int,
    origins: Sequence[tuple[int, int]] | None,
) -> list[NDArray[np.uint8]]:
    """Return each component at the picture's resolution, (height, width) uint8 of the region."""
    factors = tuple((component.h, component.v) for component in header.components)
    windows = _sample_windows(header.width, header.height, factors, reduction, region)
    return [
        _component_pixels(index, window, blocks, origin, component.quant_table)
        for index, (window, blocks, origin, component) in enumerate(
            zip(windows, coefficients, origins or [(0, 0)] * len(windows), header.components, strict=True)
        )
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _SampleWindow:
    """What of one component is decoded for a region of the picture.

    Attributes:
        grid: how its samples lie under the pixels.
        blocks: (top, bottom, left, right) in blocks, ends exclusive.
        shape: rows and columns of their samples.
        first: place of the first of these in the component.
        inside: how many rows and columns of them belong to the picture.
        pixels: (height, width) of the region.
        offset: (row, column) of the region's first pixel, from the window's first sample; for "linear" its
            place in the picture.
    """

    grid: SampleGrid
    blocks: tuple[int, int, int, int]
    shape: tuple[int, int]
    first: tuple[int, int]
    inside: tuple[int, int]
    pixels: tuple[int, int]
    offset: tuple[int, int]


@lru_cache(maxsize=1024)
def _sample_windows(
    width: int, height: int, factors: tuple[tuple[int, int], ...], reduction: int, region: Region
) -> list[_SampleWindow]:
    """Plan each component's part of a region; photos of one layout share it."""
    windows = []
    left, top, right, bottom = region
    for grid in sample_grids(width, height, factors, reduction):
        blocks = grid.block_window(region)
        size = grid.block_size
        shape = (blocks[1] - blocks[0]) * size, (blocks[3] - blocks[2]) * size
        first = blocks[0] * size, blocks[2] * size
        inside = min(shape[0], grid.down.samples - first[0]), min(shape[1], grid.across.samples - first[1])
        offset = top, left
        if grid.upsampling != "linear":
            # Of the ratios only whole ones are left, and 1 for "none".
            offset = top - first[0] * grid.down.ratio[0], left - first[1] * grid.across.ratio[0]
        windows.append(
            _SampleWindow(grid, blocks, shape, first, inside, (bottom - top, right - left), offset)
        )
    return windows


def _component_pixels(
    index: int,
    window: _SampleWindow,
    coefficients: NDArray[np.int16],
    origin: tuple[int, int],
    table: NDArray[np.uint16],
) -> NDArray[np.uint8]:
    """Return component `index` at the picture's resolution, (height, width) uint8 of the region."""
    top, bottom, left, right = window.blocks
    rows, columns = coefficients.shape[:2]
    if not (
        origin[0] <= top and bottom <= origin[0] + rows and origin[1] <= left and right <= origin[1] + columns
    ):
        raise ValueError(f"a component of {rows}x{columns} blocks does not hold blocks {window.blocks}")
    samples = scratch(_SAMPLES[index], window.shape, np.uint8)
    steps = np.ascontiguousarray(table, np.uint16).view(np.int16)
    idct.KERNELS[window.grid.block_size](coefficients, steps, top - origin[0], left - origin[1], samples)
    return _upsampled(index, window, samples)


def _upsampled(index: int, window: _SampleWindow, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a window's samples to pixels."""
    grid, (top, left) = window.grid, window.offset
    if grid.upsampling == "none":
        if window.pixels == samples.shape:
            return samples
        out = scratch(_UPSAMPLED[index], window.pixels, np.uint8)
        out[:] = samples[top : top + out.shape[0], left : left + out.shape[1]]
        return out
    out = scratch(_UPSAMPLED[index], window.pixels, np.uint8)
    across, down = grid.across.ratio, grid.down.ratio
    if grid.upsampling == "linear":
        upsample.linear(samples, *window.inside, across, down, *window.first, top, left, out)
    elif grid.upsampling == "replicate":
        upsample.replicate(samples, across[0], down[0], top, left, out)
    else:
        upsample.FANCY[grid.upsampling](samples, *window.inside, top, left, out)
    return out


def to_rgb(header: JpegHeader, planes: Sequence[NDArray[np.uint8]], out: NDArray[np.uint8]) -> None:
    """Convert samples of equal resolution, one (height, width) plane a component, to (height, width, 3)."""
    match header.color_space:
        case "gray":
            color.interleave(planes[0], planes[0], planes[0], out)
        case "rgb":
            color.interleave(*planes, out)
        case "ycbcr":
            color.ycc_to_rgb(*planes, out)
        case "cmyk":
            color.cmyk_to_rgb(*planes, out)
        case "ycck":
            color.ycck_to_rgb(*planes, out)
