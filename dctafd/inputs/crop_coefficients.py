"""Which coefficients the classifier's crop and block grid need, and how to get at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dctafd.inputs.block_grid import GridBlocks
from dctafd.inputs.geometry import CELL, Axis, CropGeometry, PictureLayout, crop_geometry
from dctafd.jpeg.coefficients import ComponentHeader, JpegCoefficients, JpegHeader
from dctafd.jpeg.header import component_fields, header_fields
from dctafd.jpeg.limits import max_file_bytes
from dctafd.jpeg.numba_engine import read_coefficients, read_partial
from dctafd.jpeg.partial import ComponentPlan
from dctafd.jpeg.reader import Source, all_warnings, parse_checked, read_bytes
from dctafd.jpeg.sampling_geometry import Region, sample_grids
from dctafd_native import resample

SMALL = 1 << 20  # pixels up to which a photo is sooner read whole than in part


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
    """

    geometry: CropGeometry
    reduction: int
    x: AxisFilter
    y: AxisFilter
    region: Region
    components: tuple[ComponentPlan, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CropCoefficients:
    """The coefficients that a `CropPlan` names.

    Attributes:
        header: the photo's header facts.
        windows: one array a component, (rows, columns, 8, 8) or (.., 1, 1) int16, for `decode_window`.
        origins: (row, column) of each window's first block in its component.
        grids: the blocks under the cells, one entry a component.
    """

    header: JpegHeader
    windows: list[NDArray[np.int16]]
    origins: list[tuple[int, int]]
    grids: list[GridBlocks]


def plan_crop(header: JpegHeader, resize: int | None, crop: int) -> CropPlan:
    """Plan for `resize` and `crop` as `prepare` has them; photos of one layout share their plan."""
    factors = tuple((component.h, component.v) for component in header.components)
    layout = PictureLayout(header.width, header.height, header.orientation, factors)
    return _plan_crop(layout, resize, crop)


@lru_cache(maxsize=64)
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
    return CropPlan(geometry, reduction, x, y, region, components)


def _axis_filter(axis: Axis, reduction: int) -> AxisFilter:
    start, stop, samples = axis.box(reduction)
    starts, counts = np.empty((2, axis.count), np.int32)
    weights = np.empty((axis.count, resample.weight_count(stop - start, axis.resized)), np.int32)
    resample.bilinear_weights(start, stop, samples, axis.resized, axis.first, starts, counts, weights)
    return AxisFilter((int(starts[0]), int(starts[-1] + counts[-1])), (starts, counts, weights))


def select_coefficients(
    header: JpegHeader, coefficients: Sequence[NDArray[np.int16]], plan: CropPlan
) -> CropCoefficients:
    """Find what `plan` names among all coefficients of a photo, (rows, columns, 8, 8) int16 a component.

    Raises:
        ValueError: an array has another shape than its component.
    """
    for component, array in zip(header.components, coefficients, strict=True):
        if array.shape != (component.block_rows, component.block_columns, 8, 8):
            raise ValueError(f"component {component.name} has blocks of shape {array.shape}")
    windows = [np.ascontiguousarray(array, np.int16) for array in coefficients]
    grids = [
        GridBlocks(array, wanted.grid_rows, wanted.grid_columns)
        for array, wanted in zip(windows, plan.components, strict=True)
    ]
    return CropCoefficients(header, windows, [(0, 0)] * len(windows), grids)


def read_crop(
    source: Source,
    resize: int | None,
    crop: int,
    *,
    max_pixels: int,
    max_scans: int,
    strict: bool,
) -> tuple[CropPlan, CropCoefficients]:
    """Plan for a photo's crop and read, of a larger one's coefficients, only those needed.

    Errors as `dctafd.read`.
    """
    data = read_bytes(source, max_file_bytes(max_pixels))
    structure = parse_checked(data, max_pixels, max_scans)
    components = tuple(ComponentHeader(**facts) for facts in component_fields(structure))
    header = JpegHeader(**header_fields(structure, len(data)), components=components, warnings=())
    plan = plan_crop(header, resize, crop)
    if header.width * header.height <= SMALL and not structure.frame.arithmetic:
        arrays, damage = read_coefficients(data, structure)
        found = select_coefficients(header, arrays, plan)
    else:
        parts, damage = read_partial(data, structure, plan.components)
        windows = [part.corners for part in parts]
        origins = [(wanted.window[0], wanted.window[2]) for wanted in plan.components]
        every = np.arange(crop // CELL)
        grids = [GridBlocks(part.grid, every, every) for part in parts]
        found = CropCoefficients(header, windows, origins, grids)
    warnings = all_warnings(structure, damage, strict)
    return plan, replace(found, header=replace(header, warnings=warnings)) if warnings else found


def header_of(jpeg: JpegCoefficients) -> JpegHeader:
    """Return the header facts alone, so that the coefficients can be forgotten."""

    def facts(kind: type, source: object) -> dict[str, Any]:
        return {field.name: getattr(source, field.name) for field in fields(kind)}

    components = tuple(ComponentHeader(**facts(ComponentHeader, component)) for component in jpeg.components)
    return JpegHeader(**facts(JpegHeader, jpeg) | {"components": components})
