"""One scan through the kernels of `dctafd_native.entropy`: its tables, its geometry, what it left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.errors import CorruptJpegError
from dctafd.jpeg.header import component_names
from dctafd.jpeg.huffman_tables import lookup_tables
from dctafd.jpeg.scan_parts import WORK_SPACE, Part, decode_parts, most_parts
from dctafd.jpeg.scratch import scratch
from dctafd.jpeg.structure import ZIGZAG_TO_NATURAL, Frame, HuffmanSpec, JpegStructure, Scan
from dctafd_native import entropy, entropy_data, entropy_progressive
from dctafd_native.entropy_segments import unstuff
from dctafd_native.entropy_tables import DC, PROGRESSIVE_AC, SEQUENTIAL_AC

_ZIGZAG = np.full(128, 63, dtype=np.uint8)
_ZIGZAG[:64] = ZIGZAG_TO_NATURAL
_NAMES = entropy.MCU_BLOCK.names or ()
_OFFSET = _NAMES.index("offset") - _NAMES.index("step_x")


@dataclass(frozen=True, slots=True, eq=False)
class KernelLayout:
    """Where the kernels put what is wanted; files of one kind share it, and it is a key of caches.

    Attributes:
        components: the fields of `entropy.MCU_BLOCK` from `step_x` on, of each component.
        grid_maps: `entropy.decode_sequential`'s.
        size: coefficients that are kept.
        mcu_rows: how many rows of the MCUs of an interleaved scan are wanted.
        skips: whether blocks of the picture are passed over.
    """

    components: tuple[tuple[int, ...], ...]
    grid_maps: NDArray[np.int64]
    size: int
    mcu_rows: int
    skips: bool


class Target(NamedTuple):
    """What all scans of one file share.

    Attributes:
        data: the file's bytes.
        structure: what its markers say.
        layout: what is wanted.
        out: (layout.size + WORK_SPACE * most_parts(threads),) int16, filled.
        clear: whether `out` holds anything but zeros.
        overlay: whether several sequential scans hold the same blocks.
        threads: how many may work on one scan.
    """

    data: bytes
    structure: JpegStructure
    layout: KernelLayout
    out: NDArray[np.int16]
    clear: bool = False
    overlay: bool = False
    threads: int = 1


class ScanOutcome(NamedTuple):
    """What became of one scan.

    Attributes:
        messages: what is missing or odd, in words.
        whole: whether all blocks of each of its components were read.
        last_good_row: the last row of MCUs (of an interleaved scan) that began with data left.
    """

    messages: list[str]
    whole: list[bool]
    last_good_row: int


def component_geometry(frame: Frame, index: int) -> tuple[int, int, int, int]:
    """Return the fields `step_x` to `columns` of `entropy.MCU_BLOCK` for an interleaved scan."""
    component = frame.components[index]
    return (component.h, component.v, *frame.blocks[index])


def decode_scan(target: Target, scan: Scan) -> ScanOutcome:
    """Decode one scan into `target.out`.

    Raises:
        CorruptJpegError: its header or its tables make no sense.
    """
    if not target.structure.frame.progressive:
        return _decode_sequential(target, scan)
    _check_progression(scan)
    return _decode_dc(target, scan) if scan.spectral_start == 0 else _decode_ac(target, scan)


class _ScanPlan(NamedTuple):
    """What the scans of one kind share, whatever their tables.

    Attributes:
        mcu_rows, mcu_columns: the scan's MCUs, as far as they are wanted.
        mcu_blocks: `entropy.decode_sequential`'s.
        blocks_in_mcu: how many blocks that are.
        totals: blocks of each of the scan's components, as far as they are wanted.
    """

    mcu_rows: int
    mcu_columns: int
    mcu_blocks: NDArray[np.void]
    blocks_in_mcu: int
    totals: list[int]


@lru_cache(maxsize=512)
def _scan_plan(frame: Frame, layout: KernelLayout, indices: tuple[int, ...]) -> _ScanPlan:
    """Plan a scan of these components of the frame."""
    if len(indices) == 1:
        # T.81 A.2.2: not interleaved; an MCU is one block, and blocks that only pad MCUs are left out.
        (index,) = indices
        rows, columns = frame.blocks[index]
        mcu_rows = min(rows, layout.mcu_rows * frame.components[index].v)
        blocks = [(index, 0, 0, *_table_numbers(0, layout.skips), 1, 1, *layout.components[index][2:])]
    else:
        mcu_rows, columns = min(frame.mcu_rows, layout.mcu_rows), frame.mcu_columns
        blocks = [
            (index, x, y, *_table_numbers(place, layout.skips), *layout.components[index])
            for place, index in enumerate(indices)
            for y in range(frame.components[index].v)
            for x in range(frame.components[index].h)
        ]
    totals = [
        min(frame.blocks[index][0], layout.mcu_rows * frame.components[index].v) * frame.blocks[index][1]
        for index in indices
    ]
    mcu_blocks = np.array(blocks, dtype=entropy.MCU_BLOCK)
    return _ScanPlan(mcu_rows, columns, mcu_blocks, len(blocks), totals)


def _unstuffed(
    target: Target, scan: Scan, plan: _ScanPlan
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8]]:
    """Return the scan's entropy-coded data without stuffing, where its segments end, and their markers."""
    size = scan.end - scan.start
    work_space = most_parts(target.threads) * entropy_data.tail_space(plan.blocks_in_mcu)
    buffer = scratch("entropy-coded data", (size + work_space,), np.uint8)
    most_segments = 1
    if scan.restart_interval:
        intervals = plan.mcu_rows * plan.mcu_columns // scan.restart_interval
        most_segments = min(2 * intervals + 8, size // 2 + 1)
    ends = np.empty(most_segments, dtype=np.int64)
    markers = np.empty(most_segments, dtype=np.uint8)
    source = np.frombuffer(target.data, dtype=np.uint8)
    count = unstuff(source, scan.start, scan.end, buffer, ends, markers)
    return buffer, ends[:count], markers[:count]


def _table_numbers(place: int, skips: bool) -> tuple[int, int, bool]:
    """Return `dc`, `ac` and `skips` of `entropy.MCU_BLOCK` for the component at `place` in a scan."""
    return 2 * place, 2 * place + 1, skips


def _decode_sequential(target: Target, scan: Scan) -> ScanOutcome:
    wanted: list[tuple[HuffmanSpec | None, int]] = []
    for part in scan.components:
        wanted += (scan.dc_tables[part.dc_table], DC), (scan.ac_tables[part.ac_table], SEQUENTIAL_AC)
    indices = scan.indices
    tables = lookup_tables(tuple(wanted), target.layout.skips)
    plan = _scan_plan(target.structure.frame, target.layout, indices)

    def decode(part: Part) -> None:
        entropy.decode_sequential(
            part.buffer,
            part.ends,
            part.markers,
            scan.restart_interval,
            part.rows,
            plan.mcu_columns,
            part.mcu_blocks,
            target.layout.grid_maps,
            tables,
            _ZIGZAG,
            target.clear,
            target.overlay,
            part.out,
            part.decoded,
            part.findings,
        )

    return _decode_all(target, scan, plan, decode, indices)


def _decode_ac(target: Target, scan: Scan) -> ScanOutcome:
    component = scan.components[0]
    tables = lookup_tables(((scan.ac_tables[component.ac_table], PROGRESSIVE_AC),), skipping=False)
    plan = _scan_plan(target.structure.frame, target.layout, scan.indices)
    refine = scan.approximation_high > 0
    decode_band = entropy_progressive.decode_ac_refine if refine else entropy_progressive.decode_ac_first
    offset = target.layout.components[component.index][_OFFSET]

    def decode(part: Part) -> None:
        decode_band(
            part.buffer,
            part.ends,
            part.markers,
            scan.restart_interval,
            part.rows * plan.mcu_columns,
            offset + 64 * part.first_row * plan.mcu_columns,
            tables,
            scan.spectral_start,
            scan.spectral_end,
            scan.approximation_low,
            _ZIGZAG,
            part.out,
            part.decoded,
            part.findings,
        )

    return _decode_all(target, scan, plan, decode, (0,))


def _decode_dc(target: Target, scan: Scan) -> ScanOutcome:
    refine = scan.approximation_high > 0
    # Numbered as _scan_plan does; refinement bits have no Huffman code (T.81 G.1.2.1).
    wanted = [] if refine else [(scan.dc_tables[component.dc_table], DC) for component in scan.components]
    tables = lookup_tables(tuple(table for table in wanted for _ in range(2)), skipping=False)
    plan = _scan_plan(target.structure.frame, target.layout, scan.indices)

    def decode(part: Part) -> None:
        entropy_progressive.decode_dc(
            part.buffer,
            part.ends,
            part.markers,
            scan.restart_interval,
            part.rows,
            plan.mcu_columns,
            part.mcu_blocks,
            tables,
            refine,
            scan.approximation_low,
            part.out,
            part.decoded,
            part.findings,
        )

    return _decode_all(target, scan, plan, decode, scan.indices)


def _decode_all(
    target: Target, scan: Scan, plan: _ScanPlan, decode: Callable[[Part], None], counted: tuple[int, ...]
) -> ScanOutcome:
    """Decode a scan with a kernel that counts the blocks of the scan's components at the places `counted`."""
    decoded, findings = np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)
    out = target.out[: target.layout.size + WORK_SPACE]
    coded = _unstuffed(target, scan, plan)
    whole = Part(0, plan.mcu_rows, *coded, plan.mcu_blocks, out, decoded, findings)
    decode_parts(decode, whole, plan.mcu_columns, scan.restart_interval, target.out, target.threads)
    return _outcome(target, scan, plan, [decoded.item(place) for place in counted], findings)


def _check_progression(scan: Scan) -> None:
    """Check Ss, Se, Ah and Al of a progressive scan (T.81 G.1.1.1; libjpeg: jdphuff.c, start_pass)."""
    start, end = scan.spectral_start, scan.spectral_end
    high, low = scan.approximation_high, scan.approximation_low
    band = end == 0 if start == 0 else start <= end <= 63 and len(scan.components) == 1
    if not band or low > 13 or (high != 0 and low != high - 1):
        raise CorruptJpegError(f"a progressive scan with Ss {start}, Se {end}, Ah {high}, Al {low}")


def _outcome(
    target: Target, scan: Scan, plan: _ScanPlan, decoded: list[int], findings: NDArray[np.int64]
) -> ScanOutcome:
    """Say how much of each component of the scan is missing, and what else was odd."""
    frame = target.structure.frame
    bad_codes, left_over, lost_restarts, last_started = findings.tolist()
    v = frame.components[scan.components[0].index].v if len(scan.components) == 1 else 1
    last_good_row = last_started // plan.mcu_columns // v
    if decoded == plan.totals and not (bad_codes or left_over or lost_restarts):
        return ScanOutcome([], [True] * len(decoded), last_good_row)
    messages = []
    if decoded != plan.totals:
        names = component_names(target.structure)
        for component, read, total in zip(scan.components, decoded, plan.totals, strict=True):
            if read < total:
                share = 100 * (total - read) / total
                shown = f"{share:.0f}" if share >= 1 else "less than 1"
                messages.append(f"component {names[component.index]}: {shown} % of its blocks missing")
    if bad_codes:
        messages.append(f"{bad_codes} invalid Huffman codes")
    if lost_restarts:
        messages.append(f"{lost_restarts} restart markers missing or out of order")
    if left_over and target.layout.mcu_rows == frame.mcu_rows:
        messages.append(f"{left_over} bytes of entropy-coded data left over")
    whole = [read == total for read, total in zip(decoded, plan.totals, strict=True)]
    return ScanOutcome(messages, whole, last_good_row)
