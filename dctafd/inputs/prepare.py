"""From a JPEG file to what a corrected classifier reads of it: `prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from dctafd.config import IMAGENET_MEAN, IMAGENET_STD, MAX_PIXELS, MAX_SCANS, Limits, Preprocessing
from dctafd.inputs.block_grid import block_grid
from dctafd.inputs.crop_coefficients import CropCoefficients, CropPlan, crop_of, read_crop
from dctafd.inputs.geometry import ORIENTATIONS, Orientation
from dctafd.inputs.model_input import ModelInput
from dctafd.inputs.thumbnail import crop_thumbnail
from dctafd.jpeg.coefficients import JpegCoefficients
from dctafd.jpeg.history import estimate_history_of_blocks
from dctafd.jpeg.pixels import decode_planes
from dctafd.jpeg.reader import Engine, Source
from dctafd.jpeg.scratch import scratch
from dctafd_native import resample

_LARGEST_THUMBNAIL = 4096


def prepare(
    jpeg_or_source: JpegCoefficients | Source,
    resize: int | None = 256,
    crop: int = 224,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    preprocessing: Preprocessing | None = None,
    history: bool = True,
    thumbnail: int | None = None,
    engine: Engine = "auto",
    max_pixels: int = MAX_PIXELS,
    max_scans: int = MAX_SCANS,
    strict: bool = False,
    threads: int = 1,
) -> ModelInput:
    """Make a photo's classifier input: normalised pixels, and the coefficients and steps that FDE-Net reads.

    The photo is turned upright, its shorter side resized to `resize` and its centre cropped as torchvision's
    ``Resize`` and ``CenterCrop`` do with Pillow images, within one level; smaller photos are padded with
    black. A photo that shrinks to a half or less is decoded at 1/2, 1/4 or 1/8 of its size first, exactly
    like one that Pillow opened in ``draft`` mode. Given the source of a larger photo, only the coefficients
    that the crop and the block grid need are stored.

    Args:
        jpeg_or_source: what `dctafd.read` returned, or a path, bytes-like object or binary file object.
        resize: pixels of the shorter side, or None to crop only.
        crop: pixels a side of the crop, a multiple of 8.
        mean, std: what the classifier subtracts from and divides by, per channel, for samples in 0..1.
        preprocessing: what a classifier expects, in place of all four: `dctafd.load_backbone(...)` tells it
            as `spec.preprocessing`, `dctafd.load_classifier(...)` as `preprocessing`.
        history: whether to look for signs of an earlier compression, in the luma blocks of the grid.
        thumbnail: pixels of the longer side of a small picture of the crop; None for none.
        engine, max_pixels, max_scans, strict, threads: as for `dctafd.read`; they matter for a source only.

    Raises:
        ValueError: `resize`, `crop`, `mean`, `std` or `thumbnail` makes no sense, or a component has not the
            blocks of its size.
        DctafdError, OSError: as `dctafd.read`.

    Example:
        >>> model_input = dctafd.prepare("photo.jpg", resize=256, crop=224)
        >>> model_input.pixels.shape, model_input.coefficients.shape
        ((3, 224, 224), (192, 28, 28))
    """
    if preprocessing is not None:
        resize, crop = preprocessing.resize, preprocessing.crop
        mean, std = preprocessing.mean, preprocessing.std
    _check(resize, crop, thumbnail)
    if isinstance(jpeg_or_source, JpegCoefficients):
        plan, found = crop_of(jpeg_or_source, resize, crop)
    else:
        limits = Limits(max_pixels, max_scans, strict, threads)
        plan, found = read_crop(jpeg_or_source, resize, crop, limits, engine)
    coefficients, steps, survival = block_grid(found.header, plan.geometry, found.grids, plan.survival)
    return ModelInput(
        pixels=_crop_pixels(plan, found, mean, std),
        coefficients=coefficients,
        steps=steps,
        survival=survival,
        scale=plan.geometry.scale,
        primary_quality=_primary_quality(plan, found) if history else None,
        header=found.header,
        thumbnail=None if thumbnail is None else crop_thumbnail(plan, found, thumbnail),
    )


def prepare_for(
    jpeg_or_source: JpegCoefficients | Source,
    preprocessing: Preprocessing,
    limits: Limits = Limits(),
    thumbnail: int | None = None,
) -> ModelInput:
    """Make a photo's input for a classifier that expects `preprocessing`; errors as for `prepare`."""
    return prepare(
        jpeg_or_source,
        preprocessing=preprocessing,
        thumbnail=thumbnail,
        max_pixels=limits.max_pixels,
        max_scans=limits.max_scans,
        strict=limits.strict,
        threads=limits.threads,
    )


def _check(resize: int | None, crop: int, thumbnail: int | None) -> None:
    whole = all(isinstance(size, Integral) for size in (resize, crop, thumbnail) if size is not None)
    if not whole or crop <= 0 or crop % 8 or (resize is not None and resize <= 0):
        raise ValueError(
            f"crop has to be a positive multiple of 8 and resize positive, not {crop} and {resize}"
        )
    if thumbnail is not None and not 0 < thumbnail <= _LARGEST_THUMBNAIL:
        raise ValueError(f"a thumbnail's longer side has 1 to {_LARGEST_THUMBNAIL} pixels, not {thumbnail}")


def _crop_pixels(
    plan: CropPlan, found: CropCoefficients, mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """Return the normalised crop, (3, crop, crop) float32."""
    planes = decode_planes(
        found.header, found.windows, plan.region, reduction=plan.reduction, origins=found.origins
    )
    columns = _upright_columns(planes, plan.geometry.orientation)
    x, y = plan.geometry.x, plan.geometry.y
    width = -(-x.count // resample.TILE) * resample.TILE
    rows = scratch("resized rows", (len(planes), columns.shape[2], width), np.uint8)
    resample.resize_rows(columns, plan.x.source[0], *plan.x.tables, rows)
    gain, offset = _normalization(tuple(mean), tuple(std))
    pixels = np.empty((3, y.crop, x.crop), np.float32)
    if (y.count, x.count) != (y.crop, x.crop):
        pixels[:] = offset[:, None, None]  # padding is black
    place = max(-y.offset, 0), max(-x.offset, 0)
    resample.resize_columns(rows, plan.y.source[0], *plan.y.tables, gain, offset, *place, x.count, pixels)
    return pixels


def _upright_columns(planes: NDArray[np.uint8], turn: Orientation) -> NDArray[np.uint8]:
    """Turn planes upright and lay them down column by column, as `resample.resize_rows` reads them."""
    channels, height, width = planes.shape
    if turn == ORIENTATIONS[1]:
        columns = scratch("columns", (channels, width, resample.padded_rows(height)), np.uint8)
        resample.transpose_planes(planes, columns)
        return columns
    upright = turn.turn(planes.transpose(1, 2, 0))
    rows = upright.shape[0]
    columns = scratch("columns", (channels, upright.shape[1], resample.padded_rows(rows)), np.uint8)
    columns[:, :, :rows] = upright.transpose(2, 1, 0)
    return columns


@lru_cache(maxsize=16)
def _normalization(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return gain and offset, (3,) float32, that normalise samples 0..255."""
    means, deviations = np.array(mean, np.float64), np.array(std, np.float64)
    if means.shape != (3,) or deviations.shape != (3,) or not (np.isfinite(means) & (deviations > 0)).all():
        raise ValueError(f"mean and std are three numbers each, std above 0, not {mean} and {std}")
    return (1 / (255 * deviations)).astype(np.float32), (-means / deviations).astype(np.float32)


def _primary_quality(plan: CropPlan, found: CropCoefficients) -> int | None:
    """Return the quality of an earlier compression that the grid's luma blocks tell, each counted once."""
    luma = found.header.components[0]
    blocks = found.grids[0].distinct(*plan.distinct)
    return estimate_history_of_blocks(blocks, luma.quant_table, luma.missing_bits).primary_quality
