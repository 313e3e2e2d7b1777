"""Coefficients through our own kernels (`dctafd_native.entropy`): what a plan names, or everything."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import CorruptJpegError, UnsupportedJpegError
from dctafd.jpeg.header import component_names
from dctafd.jpeg.partial import ComponentPlan, Decoded, PartialComponent, check_plans
from dctafd.jpeg.scan_decoding import KernelLayout, Target, component_geometry, decode_scan
from dctafd.jpeg.scan_parts import WORK_SPACE, most_parts
from dctafd.jpeg.scratch import scratch
from dctafd.jpeg.smoothing import Neighbours, ScanProgress, cut_progressive, smooths
from dctafd.jpeg.structure import Frame, JpegStructure

_NO_GRID = np.empty(0, dtype=np.int64)
_MAX_MESSAGES = 12


def decode(
    data: bytes,
    structure: JpegStructure,
    plans: Sequence[ComponentPlan],
    reuse: bool = False,
    threads: int = 1,
) -> Decoded:
    """Decode the coefficients that `plans`, one a component, name.

    A sequential file is decoded as far as the last block named, and memory is what the plans name. A
    progressive file is decoded whole and then cut.

    Args:
        data: the file's bytes.
        structure: what `parse_checked` made of them.
        plans: one a frame component.
        reuse: whether the coefficients may lie in `scratch`'s memory, and blocks of the grid but once.
        threads: how many may work on a large scan that has restart intervals.

    Raises:
        ValueError: a plan reaches outside its component.
        UnsupportedJpegError: the file is arithmetic-coded.
        CorruptJpegError: the first scan cannot be decoded at all.
    """
    frame = structure.frame
    if frame.arithmetic:
        raise UnsupportedJpegError("arithmetic coding; the engine 'jpeglib' reads it")
    if frame.progressive:
        check_plans(frame, plans)
        return _decode_progressive(data, structure, plans, threads)
    written_once = _one_scan_for_all(structure)
    if not written_once and _any_scanned_twice(structure):
        return _decode_overlaid(data, structure, plans)
    layout, cuts = _layout(frame, tuple(plans))
    damage: list[str] = []
    if written_once:
        # The kernel clears each block just before it is filled, which spares a pass over memory; where damage
        # left blocks out, everything is decoded once more.
        size = layout.size + WORK_SPACE * most_parts(threads)
        out = scratch("coefficients", (size,), np.int16) if reuse else np.empty(size, np.int16)
        out[layout.size :] = 0
        damage = _decode_scans(Target(data, structure, layout, out, clear=True, threads=threads))
    if damage or not written_once:
        out = np.zeros(layout.size + WORK_SPACE, dtype=np.int16)
        damage = _decode_scans(Target(data, structure, layout, out))
    return Decoded([cut.of(out, once=reuse) for cut in cuts], damage)


@lru_cache(maxsize=512)
def _layout(frame: Frame, plans: tuple[ComponentPlan, ...]) -> tuple[KernelLayout, list[_Cut]]:
    """Lay out what plans name; return how to cut it again, too."""
    check_plans(frame, plans)
    cuts: list[_Cut] = []
    size = map_size = 0
    for plan, blocks in zip(plans, frame.blocks, strict=True):
        cut = _Cut.at(plan, blocks, size, map_size)
        cuts.append(cut)
        size, map_size = cut.grid.stop, cut.map_end
    maps = [places for cut in cuts for places in cut.maps]
    layout = KernelLayout(
        tuple((*component_geometry(frame, index), *cut.kernel_row) for index, cut in enumerate(cuts)),
        np.concatenate(maps) if maps else _NO_GRID,
        size,
        max(_rows_needed(frame, index, plan) for index, plan in enumerate(plans)),
        skips=any(
            plan.keep == 1 or plan.window != (0, rows, 0, columns)
            for plan, (rows, columns) in zip(plans, frame.blocks, strict=True)
        ),
    )
    return layout, cuts


def _one_scan_for_all(structure: JpegStructure) -> bool:
    return len(structure.scans) == 1 and len(structure.scans[0].components) == len(structure.frame.components)


def _any_scanned_twice(structure: JpegStructure) -> bool:
    indices = [index for scan in structure.scans for index in scan.indices]
    return len(set(indices)) < len(indices)


def _decode_overlaid(data: bytes, structure: JpegStructure, plans: Sequence[ComponentPlan]) -> Decoded:
    """Decode a sequential file some component of which comes in several scans, as no encoder writes it.

    As in libjpeg (jdcoefct.c, consume_data) what a later scan says is 0 stays what an earlier one said, so
    that no block is complete before the last scan.
    """
    check_plans(structure.frame, plans)
    target = _whole_target(data, structure, padding_rows=0)._replace(overlay=True)
    damage = _decode_scans(target)
    arrays = _cut_whole(target, padding_rows=0)
    return Decoded([_planned_part(plan, array) for plan, array in zip(plans, arrays, strict=True)], damage)


def _planned_part(plan: ComponentPlan, coefficients: NDArray[np.int16]) -> PartialComponent:
    top, bottom, left, right = plan.window
    corners = coefficients[top:bottom, left:right, : plan.keep, : plan.keep]
    grid = coefficients[np.ix_(plan.grid_rows, plan.grid_columns)]
    return PartialComponent(np.ascontiguousarray(corners), grid)


def _decode_progressive(
    data: bytes, structure: JpegStructure, plans: Sequence[ComponentPlan], threads: int
) -> Decoded:
    progress = ScanProgress(structure.frame)
    target = _whole_target(data, structure, 0, threads)
    damage = _decode_scans(target, progress)
    smoothed = smooths(progress, structure.quant_tables)
    padding = _padding_means(data, structure, progress.scans) if smoothed else None
    components = cut_progressive(structure, _cut_whole(target, padding_rows=0), plans, progress, padding)
    return Decoded(components, damage + progress.messages(component_names(structure)))


@lru_cache(maxsize=512)
def _whole_layout(frame: Frame, padding_rows: int) -> KernelLayout:
    """Lay out all coefficients; so many rows of blocks behind each component's last one, too."""
    components, size = [], 0
    for index, (rows, columns) in enumerate(frame.blocks):
        h, v, _, _ = component_geometry(frame, index)
        rows += padding_rows
        components.append((h, v, rows, columns, 8, 0, rows, 0, columns, size, -1, -1, 0, 0))
        size += 64 * rows * columns
    return KernelLayout(tuple(components), _NO_GRID, size, frame.mcu_rows, skips=False)


def _whole_target(data: bytes, structure: JpegStructure, padding_rows: int, threads: int = 1) -> Target:
    layout = _whole_layout(structure.frame, padding_rows)
    out = np.zeros(layout.size + WORK_SPACE * most_parts(threads), dtype=np.int16)
    return Target(data, structure, layout, out, threads=threads)


def _cut_whole(target: Target, padding_rows: int) -> list[NDArray[np.int16]]:
    arrays, start = [], 0
    for rows, columns in target.structure.frame.blocks:
        shape = (rows + padding_rows, columns, 8, 8)
        arrays.append(target.out[start : start + prod(shape)].reshape(shape))
        start += prod(shape)
    return arrays


def _padding_means(data: bytes, structure: JpegStructure, scans: int) -> list[NDArray[np.int16]]:
    """Return the means of the blocks that pad each component's last row of MCUs, the first row of them.

    Interleaved scans hold them (T.81 A.2.3); libjpeg keeps them, and its smoothing looks at one row of them.
    The scans of the mean, of the first `scans` ones, are decoded once more for that, where it is needed.
    """
    frame = structure.frame
    if not any(Neighbours.of(frame, index).reaches_padding for index in range(len(frame.components))):
        return [np.zeros(columns, np.int16) for _, columns in frame.blocks]
    target = _whole_target(data, structure, padding_rows=1)
    for scan in structure.scans[:scans]:
        if scan.spectral_start == 0:
            decode_scan(target, scan)
    return [array[-1, :, 0, 0] for array in _cut_whole(target, padding_rows=1)]


class _Cut(NamedTuple):
    """Where one component's plan lies in `out` and `grid_maps`.

    Attributes:
        kernel_row: the fields of `entropy.MCU_BLOCK` from `keep` on.
        maps: its part of `grid_maps`: of block rows, of block columns.
        corners, corners_shape: of the window.
        grid, grid_shape: of the blocks of the grid, sorted and once each; the next component begins behind.
        map_end: where the next component's maps begin.
        grid_rows, grid_columns: the places in the grid of the plan's rows and columns.
        no_grid: what stands for the grid where the plan names no blocks besides the window; None otherwise.
    """

    kernel_row: tuple[int, ...]
    maps: list[NDArray[np.int64]]
    corners: slice
    corners_shape: tuple[int, ...]
    grid: slice
    grid_shape: tuple[int, ...]
    map_end: int
    grid_rows: NDArray[np.intp]
    grid_columns: NDArray[np.intp]
    no_grid: NDArray[np.int16] | None

    @classmethod
    def at(cls, plan: ComponentPlan, blocks: tuple[int, int], offset: int, map_offset: int) -> _Cut:
        top, bottom, left, right = plan.window
        end = offset + (bottom - top) * (right - left) * plan.keep**2
        corners = slice(offset, end), (bottom - top, right - left, plan.keep, plan.keep)
        window = (plan.keep, top, bottom, left, right, offset)
        if not plan.has_grid:
            places = plan.grid_rows, plan.grid_columns
            grid = slice(end, end), (plan.grid_rows.size, plan.grid_columns.size, 8, 8)
            return cls(
                (*window, -1, -1, 0, 0), [], *corners, *grid, map_offset, *places, np.empty(grid[1], np.int16)
            )
        rows, row_places = np.unique(plan.grid_rows, return_inverse=True)
        columns, column_places = np.unique(plan.grid_columns, return_inverse=True)
        grid = slice(end, end + 64 * rows.size * columns.size), (rows.size, columns.size, 8, 8)
        return cls(
            (*window, map_offset, map_offset + blocks[0], columns.size, end),
            [_inverse_map(rows, blocks[0]), _inverse_map(columns, blocks[1])],
            *corners,
            *grid,
            map_offset + sum(blocks),
            row_places,
            column_places,
            no_grid=None,
        )

    def of(self, out: NDArray[np.int16], once: bool) -> PartialComponent:
        """Return the component's part of `out`; blocks of the grid once, or wherever they are wanted."""
        corners = out[self.corners].reshape(self.corners_shape)
        if self.no_grid is not None:
            return PartialComponent(corners, self.no_grid)
        grid = out[self.grid].reshape(self.grid_shape)
        if once:
            return PartialComponent(corners, grid, grid_places=(self.grid_rows, self.grid_columns))
        return PartialComponent(corners, grid[self.grid_rows[:, None], self.grid_columns[None, :]])


def _inverse_map(chosen: NDArray[np.intp], size: int) -> NDArray[np.int64]:
    places = np.full(size, -1, dtype=np.int64)
    places[chosen] = np.arange(chosen.size)
    return places


def _rows_needed(frame: Frame, index: int, plan: ComponentPlan) -> int:
    """Return how many MCU rows of an interleaved scan hold what `plan` names of component `index`."""
    top, bottom, left, right = plan.window
    last = bottom if bottom > top and right > left else 0
    if plan.has_grid:
        last = max(last, int(plan.grid_rows.max()) + 1)
    return -(-last // frame.components[index].v)


def _decode_scans(target: Target, progress: ScanProgress | None = None) -> list[str]:
    """Decode all scans into `target.out`, noting their progress; return what is missing or damaged."""
    structure = target.structure
    damage: list[str] = []
    seen: set[int] = set()
    for number, scan in enumerate(structure.scans):
        try:
            outcome = decode_scan(target, scan)
        except CorruptJpegError as error:
            if number == 0:
                raise
            damage.append(f"scan {number + 1} of {len(structure.scans)}: {error}")
            break
        where = f"scan {number + 1} of {len(structure.scans)}: " if len(structure.scans) > 1 else ""
        damage += [where + message for message in outcome.messages]
        seen.update(scan.indices)
        if progress is not None:
            progress.add(scan, outcome.whole, outcome.last_good_row)
    if len(seen) < len(structure.frame.components):
        names = component_names(structure)
        damage += [f"component {names[index]}: no scan" for index in range(len(names)) if index not in seen]
    if len(damage) > _MAX_MESSAGES:
        damage = [*damage[:_MAX_MESSAGES], f"and {len(damage) - _MAX_MESSAGES} more findings like these"]
    return damage
