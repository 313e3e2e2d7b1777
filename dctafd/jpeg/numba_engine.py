"""Coefficients through our own kernels (`dctafd_native.entropy`): all of them, or only those of a plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import CorruptJpegError, UnsupportedJpegError
from dctafd.jpeg import jpeglib_engine
from dctafd.jpeg.header import component_names
from dctafd.jpeg.huffman_tables import stacked_tables
from dctafd.jpeg.markers import ZIGZAG_TO_NATURAL
from dctafd.jpeg.partial import ComponentPlan, PartialComponent, check_plans, slice_plan
from dctafd.jpeg.structure import Frame, JpegStructure, Scan
from dctafd_native import entropy, entropy_progressive
from dctafd_native.entropy_segments import unstuff
from dctafd_native.entropy_tables import DC, LOOKUP_SIZE, PROGRESSIVE_AC, ROW_SIZE, SEQUENTIAL_AC

_ZIGZAG = np.full(128, 63, dtype=np.uint8)
_ZIGZAG[:64] = ZIGZAG_TO_NATURAL
_NO_GRID = np.empty(0, dtype=np.int64)
_WORK_SPACE = 128
"""Coefficients behind those kept that `entropy.decode_sequential` works in."""
_MAX_MESSAGES = 12


def read_coefficients(data: bytes, structure: JpegStructure) -> tuple[list[NDArray[np.int16]], list[str]]:
    """Read all coefficients.

    Args:
        data: the file's bytes.
        structure: what `parse_markers` made of them.

    Returns:
        One (block rows, block columns, 8, 8) int16 array a component, natural order; and what is missing.

    Raises:
        UnsupportedJpegError: the file is arithmetic-coded.
        CorruptJpegError: the first scan cannot be decoded at all.
    """
    frame = structure.frame
    if frame.arithmetic:
        raise UnsupportedJpegError("arithmetic coding; the engine 'jpeglib' reads it")
    offsets = list(accumulate((64 * prod(shape) for shape in frame.blocks), initial=0))
    rows = [
        (*_geometry(frame, index), 8, 0, shape[0], 0, shape[1], offsets[index], -1, -1, 0, 0)
        for index, shape in enumerate(frame.blocks)
    ]
    size = offsets[-1] + _WORK_SPACE
    if _one_scan_for_all(structure):
        # Every block is written once: the kernel clears it just before, which spares a pass over memory.
        out = np.empty(size, dtype=np.int16)
        out[-_WORK_SPACE:] = 0
        damage = _decode_scans(_Target(data, structure, rows, _NO_GRID, out, frame.mcu_rows, clear=True))
    if not _one_scan_for_all(structure) or damage:
        out = np.zeros(size, dtype=np.int16)
        damage = _decode_scans(_Target(data, structure, rows, _NO_GRID, out, frame.mcu_rows))
    coefficients = [
        out[offset:end].reshape(*shape, 8, 8)
        for offset, end, shape in zip(offsets, offsets[1:], frame.blocks, strict=False)
    ]
    return coefficients, damage


def _one_scan_for_all(structure: JpegStructure) -> bool:
    whole = len(structure.scans) == 1 and not structure.frame.progressive
    return whole and len(structure.scans[0].components) == len(structure.frame.components)


def read_partial(
    data: bytes, structure: JpegStructure, plans: Sequence[ComponentPlan]
) -> tuple[list[PartialComponent], list[str]]:
    """Read only the coefficients that `plans`, one a component, name.

    A sequential file is decoded as far as the last block named, and memory is what the plans name. A
    progressive or arithmetic-coded file is read whole and then cut.

    Args:
        data: the file's bytes.
        structure: what `parse_checked` made of them.
        plans: one a frame component.

    Returns:
        One `PartialComponent` a component, and what is missing.

    Raises:
        ValueError: a plan reaches outside its component.
        CorruptJpegError: the first scan cannot be decoded at all.
    """
    frame = structure.frame
    check_plans(frame, plans)
    if frame.arithmetic or frame.progressive:
        engine = jpeglib_engine.read_coefficients if frame.arithmetic else read_coefficients
        coefficients, damage = engine(data, structure)
        return [slice_plan(array, plan) for array, plan in zip(coefficients, plans, strict=True)], damage
    components = []
    layouts = []
    maps: list[NDArray[np.int64]] = []
    size = map_size = 0
    for index, plan in enumerate(plans):
        layout = _PlanLayout.of(plan, frame.blocks[index], size, map_size)
        components.append((*_geometry(frame, index), *layout.kernel_row))
        layouts.append(layout)
        maps += layout.maps
        size, map_size = layout.end, layout.map_end
    out = np.zeros(size + _WORK_SPACE, dtype=np.int16)
    grid_maps = np.concatenate(maps) if maps else _NO_GRID
    mcu_rows = max(_rows_needed(frame, index, plan) for index, plan in enumerate(plans))
    damage = _decode_scans(_Target(data, structure, components, grid_maps, out, mcu_rows))
    return [layout.cut(out) for layout in layouts], damage


@dataclass(frozen=True, slots=True, eq=False)
class _PlanLayout:
    """Where one component's plan lies in `out` and `grid_maps`; grid rows and columns sorted, once each."""

    plan: ComponentPlan
    kernel_row: tuple[int, ...]
    maps: list[NDArray[np.int64]]
    end: int
    map_end: int
    grid_rows: NDArray[np.intp]
    grid_columns: NDArray[np.intp]

    @classmethod
    def of(cls, plan: ComponentPlan, blocks: tuple[int, int], offset: int, map_offset: int) -> "_PlanLayout":
        top, bottom, left, right = plan.window
        grid = offset + (bottom - top) * (right - left) * plan.keep**2
        rows, row_places = np.unique(plan.grid_rows, return_inverse=True)
        columns, column_places = np.unique(plan.grid_columns, return_inverse=True)
        window = (plan.keep, top, bottom, left, right, offset)
        if not rows.size or not columns.size:
            return cls(plan, (*window, -1, -1, 0, 0), [], grid, map_offset, row_places, column_places)
        maps = [_inverse_map(rows, blocks[0]), _inverse_map(columns, blocks[1])]
        return cls(
            plan=plan,
            kernel_row=(*window, map_offset, map_offset + blocks[0], columns.size, grid),
            maps=maps,
            end=grid + 64 * rows.size * columns.size,
            map_end=map_offset + sum(blocks),
            grid_rows=row_places,
            grid_columns=column_places,
        )

    def cut(self, out: NDArray[np.int16]) -> PartialComponent:
        """Return the component's part of `out`."""
        top, bottom, left, right = self.plan.window
        keep, offset, grid, width = self.plan.keep, self.kernel_row[5], self.kernel_row[9], self.kernel_row[8]
        corners_end = offset + (bottom - top) * (right - left) * keep**2
        corners = out[offset:corners_end].reshape(bottom - top, right - left, keep, keep)
        if not width:
            blocks = np.zeros((self.grid_rows.size, self.grid_columns.size, 8, 8), dtype=np.int16)
            return PartialComponent(corners, blocks)
        stored = out[grid : self.end].reshape(-1, width, 8, 8)
        return PartialComponent(corners, stored[self.grid_rows[:, None], self.grid_columns[None, :]])


def _inverse_map(chosen: NDArray[np.intp], size: int) -> NDArray[np.int64]:
    places = np.full(size, -1, dtype=np.int64)
    places[chosen] = np.arange(chosen.size)
    return places


def _rows_needed(frame: Frame, index: int, plan: ComponentPlan) -> int:
    """Return how many MCU rows of an interleaved scan hold what `plan` names of component `index`."""
    top, bottom, left, right = plan.window
    last = bottom if bottom > top and right > left else 0
    if plan.grid_rows.size and plan.grid_columns.size:
        last = max(last, int(plan.grid_rows.max()) + 1)
    return -(-last // frame.components[index].v)


def _geometry(frame: Frame, index: int) -> tuple[int, int, int, int]:
    """Return the fields `STEP_X` to `COLUMNS` of `entropy.decode_sequential` for an interleaved scan."""
    component = frame.components[index]
    return (component.h, component.v, *frame.blocks[index])


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """What all scans of one file share; `components` are the kernels' fields from `STEP_X` on."""

    data: bytes
    structure: JpegStructure
    components: Sequence[tuple[int, ...]]
    grid_maps: NDArray[np.int64]
    out: NDArray[np.int16]
    mcu_rows: int
    clear: bool = False


def _decode_scans(target: _Target) -> list[str]:
    """Decode all scans into `target.out`; return what is missing or damaged."""
    structure = target.structure
    damage: list[str] = []
    seen: set[int] = set()
    decode = _decode_progressive_scan if structure.frame.progressive else _decode_sequential_scan
    for number, scan in enumerate(structure.scans):
        try:
            messages = decode(target, scan)
        except CorruptJpegError as error:
            if number == 0:
                raise
            damage.append(f"scan {number + 1} of {len(structure.scans)}: {error}")
            break
        where = f"scan {number + 1} of {len(structure.scans)}: " if len(structure.scans) > 1 else ""
        damage += [where + message for message in messages]
        seen.update(component.index for component in scan.components)
    names = component_names(structure)
    damage += [f"component {names[index]}: no scan" for index in range(len(names)) if index not in seen]
    if len(damage) > _MAX_MESSAGES:
        damage = [*damage[:_MAX_MESSAGES], f"and {len(damage) - _MAX_MESSAGES} more findings like these"]
    return damage


@dataclass(frozen=True, slots=True, eq=False)
class _ScanData:
    """A scan's entropy-coded data without stuffing, and its geometry."""

    buffer: NDArray[np.uint8]
    segment_ends: NDArray[np.int64]
    segment_markers: NDArray[np.uint8]
    mcu_rows: int
    mcu_columns: int
    mcu_blocks: NDArray[np.int64]


def _prepare_scan(target: _Target, scan: Scan) -> _ScanData:
    frame = target.structure.frame
    if len(scan.components) == 1:
        # T.81 A.2.2: not interleaved; an MCU is one block, and blocks that only pad MCUs are left out.
        index = scan.components[0].index
        rows, columns = frame.blocks[index]
        mcu_rows = min(rows, target.mcu_rows * frame.components[index].v)
        blocks = [(index, 0, 0, 0, ROW_SIZE, 0, 1, 1, *target.components[index][2:])]
    else:
        mcu_rows, columns = min(frame.mcu_rows, target.mcu_rows), frame.mcu_columns
        blocks = [
            (component.index, x, y, *_table_places(place), *target.components[component.index])
            for place, component in enumerate(scan.components)
            for y in range(frame.components[component.index].v)
            for x in range(frame.components[component.index].h)
        ]
    size = scan.end - scan.start
    buffer = np.empty(size + entropy.tail_space(len(blocks)), dtype=np.uint8)
    intervals = mcu_rows * columns // scan.restart_interval if scan.restart_interval else 0
    most_segments = 1 if not scan.restart_interval else min(2 * intervals + 8, size // 2 + 1)
    ends = np.empty(most_segments, dtype=np.int64)
    markers = np.empty(most_segments, dtype=np.uint8)
    source = np.frombuffer(target.data, dtype=np.uint8)
    count = unstuff(source, scan.start, scan.end, buffer, ends, markers)
    return _ScanData(
        buffer=buffer,
        segment_ends=ends[:count],
        segment_markers=markers[:count],
        mcu_rows=mcu_rows,
        mcu_columns=columns,
        mcu_blocks=np.array(blocks, dtype=np.int64).reshape(-1),
    )


def _table_places(place: int) -> tuple[int, int, int]:
    """Return where the tables of a scan's component start: DC, AC, and pairs of AC symbols."""
    return 2 * place * ROW_SIZE, (2 * place + 1) * ROW_SIZE, place * LOOKUP_SIZE


def _decode_sequential_scan(target: _Target, scan: Scan) -> list[str]:
    tables, pairs = stacked_tables(
        [
            pair
            for component in scan.components
            for pair in (
                (scan.dc_tables[component.dc_table], DC),
                (scan.ac_tables[component.ac_table], SEQUENTIAL_AC),
            )
        ]
    )
    prepared = _prepare_scan(target, scan)
    decoded, findings = np.zeros(4, dtype=np.int64), np.zeros(3, dtype=np.int64)
    entropy.decode_sequential(
        prepared.buffer,
        prepared.segment_ends,
        prepared.segment_markers,
        scan.restart_interval,
        prepared.mcu_rows,
        prepared.mcu_columns,
        prepared.mcu_blocks,
        target.grid_maps,
        tables,
        pairs,
        _ZIGZAG,
        target.clear,
        target.out,
        decoded,
        findings,
    )
    return _messages(target, scan, [int(decoded[component.index]) for component in scan.components], findings)


def _decode_progressive_scan(target: _Target, scan: Scan) -> list[str]:
    _check_progression(scan)
    if scan.spectral_start == 0:
        return _decode_dc_scan(target, scan)
    component = scan.components[0]
    tables, _ = stacked_tables([(scan.ac_tables[component.ac_table], PROGRESSIVE_AC)])
    prepared = _prepare_scan(target, scan)
    decoded, findings = np.zeros(1, dtype=np.int64), np.zeros(3, dtype=np.int64)
    refine = scan.approximation_high > 0
    decode = entropy_progressive.decode_ac_refine if refine else entropy_progressive.decode_ac_first
    decode(
        prepared.buffer,
        prepared.segment_ends,
        prepared.segment_markers,
        scan.restart_interval,
        prepared.mcu_rows * prepared.mcu_columns,
        target.components[component.index][entropy.OFFSET - entropy.STEP_X],
        tables,
        0,
        scan.spectral_start,
        scan.spectral_end,
        scan.approximation_low,
        _ZIGZAG,
        target.out,
        decoded,
        findings,
    )
    return _messages(target, scan, [int(decoded[0])], findings)


def _decode_dc_scan(target: _Target, scan: Scan) -> list[str]:
    refine = scan.approximation_high > 0
    # Rows as _prepare_scan numbers them; refinement bits have no Huffman code (T.81 G.1.2.1).
    wanted = [] if refine else [(scan.dc_tables[component.dc_table], DC) for component in scan.components]
    tables, _ = stacked_tables([pair for pair in wanted for _ in range(2)])
    prepared = _prepare_scan(target, scan)
    decoded, findings = np.zeros(4, dtype=np.int64), np.zeros(3, dtype=np.int64)
    entropy_progressive.decode_dc(
        prepared.buffer,
        prepared.segment_ends,
        prepared.segment_markers,
        scan.restart_interval,
        prepared.mcu_rows,
        prepared.mcu_columns,
        prepared.mcu_blocks,
        tables,
        refine,
        scan.approximation_low,
        target.out,
        decoded,
        findings,
    )
    return _messages(target, scan, [int(decoded[component.index]) for component in scan.components], findings)


def _check_progression(scan: Scan) -> None:
    """Check Ss, Se, Ah and Al of a progressive scan (T.81 G.1.1.1; libjpeg: jdphuff.c, start_pass)."""
    start, end = scan.spectral_start, scan.spectral_end
    high, low = scan.approximation_high, scan.approximation_low
    band = end == 0 if start == 0 else start <= end <= 63 and len(scan.components) == 1
    if not band or low > 13 or (high != 0 and low != high - 1):
        raise CorruptJpegError(f"a progressive scan with Ss {start}, Se {end}, Ah {high}, Al {low}")


def _messages(target: _Target, scan: Scan, decoded: list[int], findings: NDArray[np.int64]) -> list[str]:
    """Say how much of each component of the scan is missing, and what else was odd."""
    structure, frame = target.structure, target.structure.frame
    names = component_names(structure)
    messages = []
    for component, read in zip(scan.components, decoded, strict=True):
        rows, columns = frame.blocks[component.index]
        total = min(rows, target.mcu_rows * frame.components[component.index].v) * columns
        if read < total:
            share = 100 * (total - read) / total
            shown = f"{share:.0f}" if share >= 1 else "less than 1"
            messages.append(f"component {names[component.index]}: {shown} % of its blocks missing")
    if findings[entropy.BAD_CODES]:
        messages.append(f"{findings[entropy.BAD_CODES]} invalid Huffman codes")
    if findings[entropy.LOST_RESTARTS]:
        messages.append(f"{findings[entropy.LOST_RESTARTS]} restart markers missing or out of order")
    if findings[entropy.LEFT_OVER] and target.mcu_rows == frame.mcu_rows:
        messages.append(f"{findings[entropy.LEFT_OVER]} bytes of entropy-coded data left over")
    return messages
