"""A scan in several parts, side by side: it may be cut where a restart interval begins (T.81 E.2.4).

Nothing reaches over the start of an interval: predictions, runs of ends of bands and the place in the data
begin anew. Where all markers are those expected, in order, the parts therefore give what decoding in one go
gives, damaged intervals and what is said of them included. Where one is missing, doubled or out of order,
what follows depends on what came before (`entropy_data.find_restart`), and the scan stays in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd_native import entropy_data

WORK_SPACE = 128
"""Coefficients behind those kept that a kernel works in."""
_PARTS_A_THREAD = 4
"""So that a thread that is held up, or whose parts take longer than their bytes tell, holds up little."""
_MOST_PARTS = 64
_LEAST_BYTES = 1 << 17
"""Of entropy-coded data in a part: about a millisecond's work, so that starting a thread is worth it."""


class Part(NamedTuple):
    """What a kernel reads of some rows of a scan's MCUs, and where its answers go.

    Attributes:
        first_row, rows: of the scan's MCUs, as far as they are wanted.
        buffer, ends, markers: the entropy-coded data as `entropy.decode_sequential` takes it.
        mcu_blocks: `entropy.decode_sequential`'s.
        out: coefficients; the last `WORK_SPACE` of them are this part's own.
        decoded, findings: (4,) int64, what the kernels fill, zeros at first.
    """

    first_row: int
    rows: int
    buffer: NDArray[np.uint8]
    ends: NDArray[np.int64]
    markers: NDArray[np.uint8]
    mcu_blocks: NDArray[np.void]
    out: NDArray[np.int16]
    decoded: NDArray[np.int64]
    findings: NDArray[np.int64]


def most_parts(threads: int) -> int:
    """Return into how many parts a scan may be cut."""
    return 1 if threads == 1 else min(_PARTS_A_THREAD * threads, _MOST_PARTS)


def decode_parts(
    decode: Callable[[Part], None],
    whole: Part,
    mcu_columns: int,
    restart_interval: int,
    out: NDArray[np.int16],
    threads: int,
) -> None:
    """Decode a scan, in several parts where that is possible and worth it.

    Args:
        decode: runs a kernel on one part.
        whole: the scan in one piece, with `entropy_data.tail_space` for each of `most_parts` behind its data;
            its `decoded` and `findings` are filled.
        mcu_columns: MCUs in a row.
        restart_interval: MCUs between restart markers, 0 for none.
        out: `whole.out` with `WORK_SPACE` coefficients behind it for each of `most_parts` but the first.
        threads: how many may work.
    """
    rows = _rows_to_cut_at(whole, mcu_columns, restart_interval, most_parts(threads))
    if len(rows) < 3:
        decode(whole)
        return

    def decode_part(number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        space = out[: whole.out.size + number * WORK_SPACE]
        first, end = rows[number : number + 2]
        part = _part(whole, number, first, end, mcu_columns, restart_interval, space)
        decode(part)
        return part.decoded, part.findings

    with ThreadPoolExecutor(threads, "dctafd-scan") as pool:
        for decoded, findings in pool.map(decode_part, range(len(rows) - 1)):
            whole.decoded[:] += decoded
            whole.findings[:] += findings
    # The last part alone tells where data ended.
    whole.findings[entropy_data.LAST_STARTED] = findings[entropy_data.LAST_STARTED] + rows[-2] * mcu_columns


def _rows_to_cut_at(whole: Part, mcu_columns: int, restart_interval: int, most: int) -> list[int]:
    """Return the first row of each of at most `most` parts with about as many bytes, and the end of the last.

    Parts start where a restart interval and a row of MCUs both do.
    """
    if most == 1 or restart_interval == 0 or whole.ends[-1] < 2 * _LEAST_BYTES:
        return []
    intervals = -(-whole.rows * mcu_columns // restart_interval)
    markers = whole.markers[: intervals - 1]
    if not 1 < intervals <= whole.ends.size or (markers != 0xD0 + (np.arange(markers.size) & 7)).any():
        return []
    rows = np.arange(0, whole.rows, restart_interval // gcd(restart_interval, mcu_columns))
    starts = np.concatenate([[0], whole.ends])[rows * mcu_columns // restart_interval]
    size = int(whole.ends[intervals - 1])
    parts = min(most, size // _LEAST_BYTES)
    wanted = [size * number // parts for number in range(1, parts)]
    cuts = rows[np.searchsorted(starts, wanted, "right") - 1]
    return [*np.unique([0, *cuts]).tolist(), whole.rows]


def _part(
    whole: Part,
    number: int,
    first: int,
    end: int,
    mcu_columns: int,
    restart_interval: int,
    out: NDArray[np.int16],
) -> Part:
    """Return rows `first` to `end`, with the `number`-th piece of the work space behind the data."""
    segments = slice(first * mcu_columns // restart_interval, -(-end * mcu_columns // restart_interval))
    start = int(whole.ends[segments.start - 1]) if segments.start else 0
    # Kernels work behind the last segment: one more, which is never come to, ends where this part may.
    work_space = whole.buffer.size - (number + 1) * entropy_data.tail_space(whole.mcu_blocks.size)
    ends = np.append(whole.ends[segments], work_space) - start
    blocks = whole.mcu_blocks.copy()
    blocks["y"] += first * blocks["step_y"]
    # As all markers are those expected, they may be counted from any interval on.
    markers = np.append(whole.markers[: ends.size - 1], np.uint8(0xD9))
    answers = np.zeros((2, 4), dtype=np.int64)
    return Part(first, end - first, whole.buffer[start:], ends, markers, blocks, out, *answers)
