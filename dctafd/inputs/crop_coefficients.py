"""Which coefficients the classifier's crop and block grid need, and how to get at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dctafd.config import Limits
from dctafd.inputs.block_grid import GridBlocks
from dctafd.inputs.geometry import CELL, Axis, CropGeometry, PictureLayout, crop_geometry
from dctafd.inputs.survival import FilteredAxis, axis_survival, component_axes
from dctafd.jpeg.coefficients import JpegCoefficients, JpegHeader
from dctafd.jpeg.partial import ComponentPlan, PartialComponent
from dctafd.jpeg.reader import Engine, Source, plan_everything, read_planned
from dctafd.jpeg.sampling_geometry import Region, sample_grids
from dctafd.jpeg.smoothing import with_lowest
from dctafd_native import resample

SMALL = 1 << 20  # pixels up to which a photo is read whole


@dataclass(frozen=True, slots=True, eq=False)
class AxisFilter:
    """The resize filter of one axis.

    Attributes:
        source: the upright (reduced) samples that it reads, end exclusive.
        tables: starts, counts and weights of `resample.bilinear_weights`.
    """

    source: tuple[int, int]
    tables: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class CropPlan:
    """What is needed of a photo.

    Attributes:
        geometry: where the crop lies in it.
        reduction: 1, 2, 4 or 8: at which fraction of its size it is decoded.
        x, y: the resize filters of the upright picture's axes.
        region: the stored pixels, of the reduced picture, that the filters read.
        components: the coefficients needed of each component.
        survival: what share of each step survives the resize, (3, 8, 8) float32, upright, of the first three
            components, 1 where there is none (`dctafd.inputs.survival`).
        distinct: rows and columns of cells whose blocks of the first component are all different ones;
            neighbouring cells may share one.
    """

    geometry: CropGeometry
    reduction: int
    x: AxisFilter
    y: AxisFilter
    region: Region
    components: tuple[ComponentPlan, ...]
    survival: NDArray[np.float32]
    distinct: tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, slots=True, eq=False)
class CropCoefficients:
    """The coefficients that a `CropPlan` names.

    Attributes:
        header: the photo's header facts.
        windows: one array per component, (rows, columns, 8, 8) or (.., 1, 1) int16, for `decode_window`.
        origins: (row, column) of each window's first block in its component.
        grids: the blocks under the cells, one entry per component.
    """

    header: JpegHeader
    windows: list[NDArray[np.int16]]
    origins: list[tuple[int, int]]
    grids: list[GridBlocks]


#: Stored pixels per pixel of the crop, at most, of photos whose plans are kept: filters grow with the scale.
_USUAL_SCALE = 32


def plan_crop(header: JpegHeader, resize: int | None, crop: int) -> CropPlan:
    """Plan for `resize` and `crop` as `prepare` has them; photos of one layout share their plan."""
    factors = tuple((component.h, component.v) for component in header.components)
    layout = PictureLayout(header.width, header.height, header.orientation, factors)
    if max(header.width, header.height) > _USUAL_SCALE * min(crop, resize or crop):
        return _plan_crop.__wrapped__(layout, resize, crop)
    return _plan_crop(layout, resize, crop)


# About 14 kB each. In folders where photos have many sizes a new plan would be a fifth of the work on each.
@lru_cache(maxsize=512)
def _plan_crop(layout: PictureLayout, resize: int | None, crop: int) -> CropPlan:
    geometry = crop_geometry(layout, resize, crop)
    reduction = geometry.reduction
    x, y = _axis_filter(geometry.x, reduction), _axis_filter(geometry.y, reduction)
    region = geometry.stored_region(x.source, y.source, reduction)
    components = tuple(
        ComponentPlan(1 if grid.block_size == 1 else 8, grid.block_window(region), rows, columns)
        for grid, (rows, columns) in zip(
            sample_grids(layout.width, layout.height, layout.factors, reduction),
            geometry.grid_blocks(layout),
            strict=True,
        )
    )
    luma = components[0]
    distinct = tuple(
        np.flatnonzero(np.diff(places, prepend=-1)) for places in (luma.grid_rows, luma.grid_columns)
    )
    survival = _survival(layout, geometry, x, y)
    return CropPlan(geometry, reduction, x, y, region, components, survival, (distinct[0], distinct[1]))


def _survival(
    layout: PictureLayout, geometry: CropGeometry, x: AxisFilter, y: AxisFilter
) -> NDArray[np.float32]:
    """Return `CropPlan.survival`, which photos of one layout share."""
    reduction, turned = geometry.reduction, geometry.orientation.transpose
    reduced, full = (
        [component_axes(grid) for grid in sample_grids(layout.width, layout.height, layout.factors, size)]
        for size in (reduction, 1)
    )
    factors = []
    for axis, axis_filter, vertical in ((geometry.y, y, not turned), (geometry.x, x, turned)):
        if axis.size == axis.resized:
            factors.append([np.ones(8)] * len(reduced))
            continue
        filtered = FilteredAxis(axis.box(reduction)[2], axis.mirrored, *axis_filter.tables)
        stored = 0 if vertical else 1
        factors.append(
            [
                axis_survival(filtered, *pair)
                for pair in zip(*([c[stored] for c in side] for side in (reduced, full)), strict=True)
            ]
        )
    survival = np.ones((3, 8, 8), np.float32)
    for share, down, across in zip(survival, *factors, strict=False):
        np.multiply.outer(down, across, out=share, casting="same_kind")
    survival.flags.writeable = False
    return survival


def _axis_filter(axis: Axis, reduction: int) -> AxisFilter:
    start, stop, samples = axis.box(reduction)
    starts, counts = np.empty((2, axis.count), np.int32)
    weights = np.empty((axis.count, resample.weight_count(stop - start, axis.resized)), np.int32)
    resample.bilinear_weights(start, stop, samples, axis.resized, axis.first, starts, counts, weights)
    return AxisFilter((int(starts[0]), int(starts[-1] + counts[-1])), (starts, counts, weights))


def select_coefficients(
    header: JpegHeader, parts: Sequence[PartialComponent], plan: CropPlan, whole: bool
) -> CropCoefficients:
    """Find what `plan` names in what was read of a photo: all of it (`whole`), or what `plan.components` say.

    Raises:
        ValueError: all of a component was read, and has another shape than the header says.
    """
    windows = [with_lowest(np.ascontiguousarray(part.corners, np.int16), part.lowest) for part in parts]
    if not whole:
        every = np.arange(plan.geometry.y.crop // CELL)
        origins = [(wanted.window[0], wanted.window[2]) for wanted in plan.components]
        grids = [GridBlocks(part.grid, *(part.grid_places or (every, every))) for part in parts]
        return CropCoefficients(header, windows, origins, grids)
    for component, part in zip(header.components, parts, strict=True):
        if part.corners.shape != (component.block_rows, component.block_columns, 8, 8):
            raise ValueError(f"component {component.name} has blocks of shape {part.corners.shape}")
    grids = [
        GridBlocks(np.ascontiguousarray(part.corners, np.int16), wanted.grid_rows, wanted.grid_columns)
        for part, wanted in zip(parts, plan.components, strict=True)
    ]
    return CropCoefficients(header, windows, [(0, 0)] * len(windows), grids)


def read_crop(
    source: Source, resize: int | None, crop: int, limits: Limits, engine: Engine
) -> tuple[CropPlan, CropCoefficients]:
    """Plan for a photo's crop and read, of a larger one's coefficients, only those needed.

    They may lie in memory that the thread's next call overwrites. Errors as `dctafd.read`.
    """

    def planner(header: JpegHeader) -> Sequence[ComponentPlan]:
        if reads_whole(header):
            return plan_everything(header)
        return plan_crop(header, resize, crop).components

    header, parts = read_planned(source, planner, limits, engine, reuse=True)
    plan = plan_crop(header, resize, crop)
    return plan, select_coefficients(header, parts, plan, reads_whole(header))


def crop_of(jpeg: JpegCoefficients, resize: int | None, crop: int) -> tuple[CropPlan, CropCoefficients]:
    """Plan for the crop of a photo that was read, and find what it needs; errors as `select_coefficients`."""
    plan = plan_crop(jpeg, resize, crop)
    nothing = np.empty((0, 0, 8, 8), np.int16)
    parts = [PartialComponent(part.coefficients, nothing, part.lowest) for part in jpeg.components]
    return plan, select_coefficients(jpeg.header(), parts, plan, whole=True)


def reads_whole(header: JpegHeader) -> bool:
    """Whether a photo is so small that it is sooner read whole than in part."""
    return header.width * header.height <= SMALL
