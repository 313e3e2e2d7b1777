"""Thumbnails of what the classifier sees, from coefficients that were read for it anyway."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dctafd.inputs.crop_coefficients import CropCoefficients, CropPlan
from dctafd.inputs.geometry import Axis
from dctafd.jpeg.pixels import to_rgb
from dctafd_native import idct


def crop_thumbnail(plan: CropPlan, found: CropCoefficients, side: int) -> NDArray[np.uint8]:
    """Make a small picture of the classifier's crop, padding left out.

    A block gives one sample, its DC coefficient; where the photo is so small that this would be fewer samples
    than pixels, it gives 2x2, 4x4 or 8x8 from its lowest frequencies. Nothing is read or decoded again, and
    chroma is not upsampled to the photo's size.

    Args:
        plan: of the crop.
        found: the coefficients that it names.
        side: pixels of the longer side.

    Returns:
        (height, width, 3) uint8, RGB, upright.
    """
    x, y, turn = plan.geometry.x, plan.geometry.y, plan.geometry.orientation
    longer = max(x.count, y.count)
    width, height = (max(round(side * axis.count / longer), 1) for axis in (x, y))
    across, down = _stored_interval(x), _stored_interval(y)
    if turn.transpose:
        across, down, width, height = down, across, height, width
    header = found.header
    h_max = max(component.h for component in header.components)
    v_max = max(component.v for component in header.components)
    planes = []
    for component, window, origin in zip(header.components, found.windows, found.origins, strict=True):
        blocks = [pixel * component.h / (8 * h_max) - origin[1] for pixel in across]
        blocks += [pixel * component.v / (8 * v_max) - origin[0] for pixel in down]
        planes.append(_shrunk(window, component.quant_table, blocks, (width, height)))
    out = np.empty((height, width, 3), np.uint8)
    to_rgb(header, planes, out)
    return np.ascontiguousarray(turn.turn(out))


def _shrunk(
    window: NDArray[np.int16], table: NDArray[np.uint16], blocks: list[float], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a part of a component, (left, right, top, bottom) in blocks of the window, at `size`."""
    left, right, top, bottom = blocks
    samples_of_a_block = 1
    if window.shape[-1] == 8:
        blocks_per_pixel = min((right - left) / size[0], (bottom - top) / size[1])
        samples_of_a_block = next((n for n in (1, 2, 4) if n * blocks_per_pixel >= 1), 8)
    rows, columns = (count * samples_of_a_block for count in window.shape[:2])
    samples = np.empty((rows, columns), np.uint8)
    steps = np.ascontiguousarray(table, np.uint16).view(np.int16)
    idct.KERNELS[samples_of_a_block](window, steps, 0, 0, samples)
    left, right = (_inside(block * samples_of_a_block, columns) for block in (left, right))
    top, bottom = (_inside(block * samples_of_a_block, rows) for block in (top, bottom))
    picture = Image.fromarray(samples)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom)))


def _stored_interval(axis: Axis) -> tuple[float, float]:
    """Return the stored pixels under the crop."""
    start, stop = (pixel * axis.size / axis.resized for pixel in (axis.first, axis.first + axis.count))
    return (axis.size - stop, axis.size - start) if axis.mirrored else (start, stop)


def _inside(sample: float, samples: int) -> float:
    return min(max(sample, 0.0), float(samples))
