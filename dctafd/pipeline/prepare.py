"""From a JPEG file to what a corrected classifier reads of it: `prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import ComponentHeader, JpegCoefficients, JpegHeader
from dctafd.jpeg.limits import MAX_PIXELS, MAX_SCANS
from dctafd.jpeg.pixels import decode_window
from dctafd.jpeg.reader import Engine, Source, read
from dctafd.pipeline.block_grid import block_grid
from dctafd.pipeline.geometry import Axis, CropGeometry, crop_geometry
from dctafd.pipeline.model_input import IMAGENET_MEAN, IMAGENET_STD, ModelInput
from dctafd_native import resample


def prepare(
    jpeg_or_source: JpegCoefficients | Source,
    resize: int | None = 256,
    crop: int = 224,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    history: bool = True,
    engine: Engine = "auto",
    max_pixels: int = MAX_PIXELS,
    max_scans: int = MAX_SCANS,
    strict: bool = False,
) -> ModelInput:
    """Make a photo's classifier input: normalised pixels, and the coefficients and steps that FDE-Net reads.

    The photo is turned upright, its shorter side resized to `resize` and its centre cropped as torchvision's
    ``Resize`` and ``CenterCrop`` do with Pillow images; smaller photos are padded with black.

    Args:
        jpeg_or_source: what `dctafd.read` returned, or a path, bytes-like object or binary file object.
        resize: pixels of the shorter side, or None to crop only.
        crop: pixels a side of the crop, a multiple of 8.
        mean, std: what the classifier subtracts from and divides by, per channel, for samples in 0..1.
        history: whether to look for signs of an earlier compression.
        engine, max_pixels, max_scans, strict: as for `dctafd.read`; they matter for a source only.

    Raises:
        ValueError: `resize` or `crop` makes no sense.
        DctafdError, OSError: as `dctafd.read`.
    """
    if crop <= 0 or crop % 8 or (resize is not None and resize <= 0):
        raise ValueError(
            f"crop has to be a positive multiple of 8 and resize positive, not {crop} and {resize}"
        )
    if isinstance(jpeg_or_source, JpegCoefficients):
        jpeg = jpeg_or_source
    else:
        jpeg = read(jpeg_or_source, engine, max_pixels, max_scans, strict)
    geometry = crop_geometry(jpeg, resize, crop)
    blocks = []
    for component in jpeg.components:
        rows, columns = geometry.grid_blocks(jpeg, component)
        blocks.append(component.coefficients[rows[:, None], columns])
    coefficients, steps = block_grid(jpeg, geometry, blocks)
    return ModelInput(
        pixels=_crop_pixels(jpeg, geometry, mean, std),
        coefficients=coefficients,
        steps=steps,
        scale=geometry.scale,
        primary_quality=_primary_quality(jpeg) if history else None,
        header=_header_of(jpeg),
    )


class _AxisFilter(NamedTuple):
    """The resize filter of one axis.

    Attributes:
        source: the upright (reduced) samples it reads, end exclusive.
        tables: starts, counts and weights of `resample.bilinear_weights`.
    """

    source: tuple[int, int]
    tables: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def _axis_filter(axis: Axis, reduction: int) -> _AxisFilter:
    start, stop, samples = axis.box(reduction)
    starts, counts = np.empty((2, axis.count), np.int32)
    weights = np.empty((axis.count, resample.weight_count(stop - start, axis.resized)), np.int32)
    resample.bilinear_weights(start, stop, samples, axis.resized, axis.first, starts, counts, weights)
    return _AxisFilter((int(starts[0]), int(starts[-1] + counts[-1])), (starts, counts, weights))


def _crop_pixels(
    jpeg: JpegCoefficients, geometry: CropGeometry, mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """Return the normalised crop, (3, crop, crop) float32."""
    reduction = 1
    x, y = _axis_filter(geometry.x, reduction), _axis_filter(geometry.y, reduction)
    region = geometry.stored_region(x.source, y.source, reduction)
    window = np.empty((region[3] - region[1], region[2] - region[0], 3), np.uint8)
    arrays = [component.coefficients for component in jpeg.components]
    decode_window(jpeg, arrays, region, out=window, reduction=reduction)
    upright = np.ascontiguousarray(geometry.orientation.turn(window))
    rows = np.empty((upright.shape[0], geometry.x.count, 3), np.uint8)
    resample.resize_rows(upright, x.source[0], *x.tables, rows)
    gain = (1 / (255 * np.asarray(std, np.float64))).astype(np.float32)
    offset = (-np.asarray(mean, np.float64) / np.asarray(std, np.float64)).astype(np.float32)
    pixels = np.empty((3, geometry.y.crop, geometry.x.crop), np.float32)
    pixels[:] = offset[:, None, None]
    top, left = (max(-axis.offset, 0) for axis in (geometry.y, geometry.x))
    resample.resize_columns(rows, y.source[0], *y.tables, gain, offset, top, left, pixels)
    return pixels


def _primary_quality(jpeg: JpegCoefficients) -> int | None:
    try:
        from dctafd.jpeg.history import estimate_history
    except ImportError:  # until the history module is there
        return None
    return estimate_history(jpeg).primary_quality


def _header_of(jpeg: JpegCoefficients) -> JpegHeader:
    """Return the header facts alone, so that the coefficients can be forgotten."""

    def facts(kind: type, source: object) -> dict[str, Any]:
        return {field.name: getattr(source, field.name) for field in fields(kind)}

    components = tuple(ComponentHeader(**facts(ComponentHeader, component)) for component in jpeg.components)
    return JpegHeader(**facts(JpegHeader, jpeg) | {"components": components})
