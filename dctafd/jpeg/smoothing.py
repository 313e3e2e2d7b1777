"""What libjpeg makes of progressive files whose scans did not all come: estimates in place of missing bits.

A progressive file whose later scans never come holds coefficients of few bits, or none but means. libjpeg
then estimates the nine lowest AC frequencies of a block, where they are still zero, from the means of the
5 x 5 blocks around it, and smooths the means if it knows nothing else (jdcoefct.c, decompress_smooth_data, as
of libjpeg-turbo 2.1). So do we, to the bit, for pixels: `Component.coefficients` stay what the file gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.partial import ComponentPlan, PartialComponent, slice_plan
from dctafd.jpeg.structure import ZIGZAG_TO_NATURAL, Frame, JpegStructure, Scan

ESTIMATED = 10
"""Coefficients, in zigzag order from the mean on, that may be estimated."""

UNKNOWN = -1
"""Stands for a coefficient of which no scan gave any bit."""

_OUTER = [[-1, -1, 0, 1, 1], [-3, 13, 0, -13, 3], [-3, 38, 0, -38, 3], [-3, 13, 0, -13, 3], [-1, -1, 0, 1, 1]]
_BOW = [[0, 0, 1, 0, 0], [0, 2, 7, 2, 0], [0, -5, -14, -5, 0], [0, 2, 7, 2, 0], [0, 0, 1, 0, 0]]
_TWIST = [[-1, 0, 0, 0, 1], [0, 9, 0, -9, 0], [0, 0, 0, 0, 0], [0, -9, 0, 9, 0], [1, 0, 0, 0, -1]]
_THIRD = [[0, 0, 0, 0, 0], [0, 1, 0, -1, 0], [0, 2, 0, -2, 0], [0, 1, 0, -1, 0], [0, 0, 0, 0, 0]]
_MIXED = [[0, 0, 0, 0, 0], [0, 1, -3, 1, 0], [0, 0, 0, 0, 0], [0, -1, 3, -1, 0], [0, 0, 0, 0, 0]]
_MEAN = [
    [-2, -6, -8, -6, -2],
    [-6, 6, 42, 6, -6],
    [-8, 42, 152, 42, -8],
    [-6, 6, 42, 6, -6],
    [-2, -6, -8, -6, -2],
]
_LINE = [[0] * 5, [0] * 5, [-7, 50, 0, -50, 7], [0] * 5, [0] * 5]
_LINE_BOW = [[0] * 5, [0] * 5, [-1, 13, -24, 13, -1], [0] * 5, [0] * 5]
_CROSS = [[0, -1, 0, 1, 0], [-1, 10, 0, -10, 1], [0, 0, 0, 0, 0], [1, -10, 0, 10, -1], [0, 1, 0, -1, 0]]


def _with_transposed(horizontal: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    across = np.array(horizontal, np.int64)
    return across, across.T


_AC01, _AC10 = _with_transposed(_OUTER)
_AC20, _AC02 = _with_transposed(_BOW)
_AC03, _AC30 = _with_transposed(_THIRD)
_AC12, _AC21 = _with_transposed(_MIXED)
_FROM_MEANS_ALONE = np.stack(
    [_MEAN, _AC01, _AC10, _AC20, np.array(_TWIST), _AC02, _AC03, _AC12, _AC21, _AC30]
).astype(np.int64)
"""(10, 5, 5): weights of the 25 means in 256ths, by zigzag index, where no AC coefficient is known at all."""

_LINE_AC01, _LINE_AC10 = _with_transposed(_LINE)
_LINE_AC02, _LINE_AC20 = _with_transposed(_LINE_BOW)
_BESIDE_OTHERS = np.stack([_LINE_AC01, _LINE_AC10, _LINE_AC20, np.array(_CROSS), _LINE_AC02]).astype(np.int64)
"""(5, 5, 5): the same for zigzag indices 1 to 5 where some AC coefficient is known."""


class _Given(NamedTuple):
    """One scan: its components, Ss, Se, Ah, Al, and which of the components it gave wholly."""

    indices: tuple[int, ...]
    start: int
    end: int
    high: int
    low: int
    whole: tuple[bool, ...]


class ScanBits(NamedTuple):
    """What some scans of a progressive file have given: (components, 64) int64 each, zigzag order.

    Attributes:
        low: `UNKNOWN`, or how many of the lowest bits of each coefficient no scan has given (libjpeg's
            coef_bits).
        before: the same before each component's last scan.
        lost: the same, but a bit that was passed over counts as missing even if lower ones came.
        sure: as `lost`, but scans that ended early do not count.
    """

    low: NDArray[np.int64]
    before: NDArray[np.int64]
    lost: NDArray[np.int64]
    sure: NDArray[np.int64]

    @classmethod
    @lru_cache(maxsize=64)
    def after(cls, components: int, scans: tuple[_Given, ...]) -> ScanBits:
        """Follow the scans; most files have the same ones, and share what is not to be changed."""
        bits = cls(*(np.full((components, 64), UNKNOWN, np.int64) for _ in range(4)))
        for number, scan in enumerate(scans):
            band = slice(scan.start, scan.end + 1)
            noted = slice(min(scan.start, 1), max(scan.end + 1, ESTIMATED))
            for index, is_whole in zip(scan.indices, scan.whole, strict=True):
                bits.before[index, noted] = bits.low[index, noted] if number else 0
                bits.low[index, band] = scan.low
                for kind, counts in ((bits.lost, True), (bits.sure, is_whole)):
                    chain = kind[index, band]
                    follows = np.maximum(chain, 0) == scan.high
                    chain[follows & counts] = scan.low
        for kind in bits:
            kind.flags.writeable = False
        return bits


class ScanProgress:
    """What the scans of a progressive file have given so far.

    Attributes:
        last_good_row: the last row of MCUs in which the last scan still had data.
    """

    def __init__(self, frame: Frame) -> None:
        self._components = len(frame.components)
        self._given: list[_Given] = []
        self.last_good_row = frame.mcu_rows - 1

    @property
    def scans(self) -> int:
        """Scans that have begun."""
        return len(self._given)

    @property
    def bits(self) -> ScanBits:
        """What they have given."""
        return ScanBits.after(self._components, tuple(self._given))

    def add(self, scan: Scan, whole: Sequence[bool], last_good_row: int) -> None:
        """Take note of a scan: which of its components it gave wholly, and how far its data reached."""
        band = scan.spectral_start, scan.spectral_end
        approximation = scan.approximation_high, scan.approximation_low
        self._given.append(_Given(scan.indices, *band, *approximation, tuple(whole)))
        self.last_good_row = last_good_row

    def missing_bits(self, index: int) -> NDArray[np.int8] | None:
        """Return `ComponentHeader.missing_bits` of a component."""
        sure = self.bits.sure[index]
        if not sure.any():
            return None
        missing = np.empty(64, np.int8)
        missing[ZIGZAG_TO_NATURAL] = sure
        return missing.reshape(8, 8)

    def messages(self, names: Sequence[str]) -> list[str]:
        """Say which bits of which coefficients no scan gave; a component without any scan is left out."""
        found: list[str] = []
        lost = self.bits.lost
        if not lost.any():
            return found
        for name, bits in zip(names, lost, strict=True):
            if (bits == UNKNOWN).all():
                continue
            for low in sorted({int(bit) for bit in bits} - {0}):
                places = _named(np.flatnonzero(bits == low))
                bits_of = {UNKNOWN: "", 1: "the lowest bit of "}.get(low, f"the lowest {low} bits of ")
                found.append(f"component {name}: {bits_of}{places} never came")
        return found


def _named(places: NDArray[np.intp]) -> str:
    """Name zigzag indices, such as "coefficients 1 to 5, 9"."""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    parts = [f"{run[0]} to {run[-1]}" if run.size > 1 else f"{run[0]}" for run in runs]
    return f"coefficient{'s' * (places.size > 1)} {', '.join(parts)}"


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The blocks around each block of a component, as libjpeg walks through them.

    Attributes:
        rows: (block rows, 5) intp: two rows above to two rows below; `block rows` stands for the padding row.
        columns: (block columns, 5) intp.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]

    @classmethod
    def of(cls, frame: Frame, index: int) -> Neighbours:
        """Find them; at the edges the outermost blocks stand in for those beyond, but for libjpeg's slips.

        In the last row of MCUs, where a component may have fewer rows of blocks, libjpeg counts all rows as
        if every row of MCUs had so few; and above it, it looks at a row that only pads the MCUs.
        """
        v, last = frame.components[index].v, frame.mcu_rows - 1
        height, width = frame.blocks[index]
        row = np.arange(height)
        mcu_row = row // v
        in_mcu = np.where(mcu_row < last, v, height % v or v)
        place = mcu_row * in_mcu + row % v
        rows = np.empty((height, 5), np.intp)
        rows[:, 2] = row
        rows[:, 1] = row - (place > 0)
        rows[:, 0] = np.where(place > 1, row - 2, rows[:, 1])
        rows[:, 3] = row + (place < in_mcu * (last + 1) - 1)
        rows[:, 4] = np.where(place < in_mcu * (last + 1) - 2, row + 2, rows[:, 3])
        columns = np.clip(np.arange(width)[:, None] + np.arange(-2, 3), 0, width - 1)
        return cls(rows, columns)

    @property
    def reaches_padding(self) -> bool:
        """Whether a row of blocks that only pads the MCUs is among them."""
        return bool(self.rows.max() == self.rows.shape[0])


def smooths(progress: ScanProgress, tables: Sequence[NDArray[np.uint16]]) -> bool:
    """Whether libjpeg smooths a file at all (jdcoefct.c, smoothing_ok)."""
    steps = [table.reshape(64)[ZIGZAG_TO_NATURAL[:ESTIMATED]] for table in tables]
    low = progress.bits.low
    useful = bool(low[:, 1:ESTIMATED].any())
    return useful and all(step.all() for step in steps) and bool((low[:, 0] >= 0).all())


def cut_progressive(
    structure: JpegStructure,
    coefficients: Sequence[NDArray[np.int16]],
    plans: Sequence[ComponentPlan],
    progress: ScanProgress,
    padding: Sequence[NDArray[np.int16]] | None,
) -> list[PartialComponent]:
    """Take what the plans name from a progressive file's coefficients, with what stands in for missing bits.

    Args:
        structure: what the file's markers say.
        coefficients: (rows, columns, 8, 8) int16, one array per component.
        plans: one a component.
        progress: what the scans gave.
        padding: `estimate_lowest`'s, one array per component; None where nothing is to be estimated.
    """
    parts = []
    for index, (array, plan) in enumerate(zip(coefficients, plans, strict=True)):
        lowest = None
        if padding is not None:
            table = structure.quant_tables[index]
            lowest = estimate_lowest(array, table, structure.frame, index, progress, padding[index])
        parts.append(slice_plan(array, plan, lowest, progress.missing_bits(index)))
    return parts


def estimate_lowest(
    coefficients: NDArray[np.int16],
    table: NDArray[np.uint16],
    frame: Frame,
    index: int,
    progress: ScanProgress,
    padding: NDArray[np.int16],
) -> NDArray[np.int16]:
    """Return the lowest coefficients of each block of a component, estimated where the file left bits open.

    Args:
        coefficients: (rows, columns, 8, 8) int16, quantised.
        table: (8, 8) uint16 steps.
        frame: the frame header.
        index: the component's index in the frame.
        progress: what the scans gave.
        padding: (columns,) int16, the means of the row of blocks behind the last one, which pads the MCUs.

    Returns:
        (rows, columns, 10) int16 in zigzag order; `with_lowest` puts them in their places.
    """
    neighbours = Neighbours.of(frame, index)
    means = np.concatenate([coefficients[..., 0, 0], padding[None]]).astype(np.int64)
    lowest = coefficients.reshape(*coefficients.shape[:2], 64)[..., ZIGZAG_TO_NATURAL[:ESTIMATED]]
    steps = table.reshape(64)[ZIGZAG_TO_NATURAL[:ESTIMATED]].astype(np.int64)
    bits = progress.bits.low[index, :ESTIMATED]
    before = progress.bits.before[index, :ESTIMATED] if progress.scans > 1 else np.full(ESTIMATED, UNKNOWN)
    good = (progress.last_good_row + 1) * frame.components[index].v
    for rows, low in ((slice(0, good), bits), (slice(good, None), before)):
        _estimate(means, neighbours.rows[rows], neighbours.columns, steps, low, lowest[rows])
    return lowest


def _estimate(
    means: NDArray[np.int64],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    steps: NDArray[np.int64],
    low: NDArray[np.int64],
    lowest: NDArray[np.int16],
) -> None:
    """Fill in `lowest`, (rows, columns, 10), where `low` bits are open; `rows`, `columns`: `Neighbours`'."""
    alone = bool((low[1:] == UNKNOWN).all())
    weights = _FROM_MEANS_ALONE if alone else _BESIDE_OTHERS
    sums = np.zeros((len(weights), *lowest.shape[:2]), np.int64)
    for i, j in np.ndindex(5, 5):
        plane = means[rows[:, i, None], columns[:, j]]
        for weight in np.flatnonzero(weights[:, i, j]):
            sums[weight] += weights[weight, i, j] * plane
    first = 0 if alone else 1
    for place, total in enumerate(steps[0] * sums, first):
        open_bits = int(low[place])
        if place and open_bits == 0:
            continue
        sizes = ((steps[place] << 7) + np.abs(total)) // (steps[place] << 8)
        if place and open_bits > 0:
            sizes = np.minimum(sizes, (1 << open_bits) - 1)
        estimates = (np.sign(total) * sizes).astype(np.int16)
        known = (lowest[..., place] != 0) & (place > 0)
        lowest[..., place] = np.where(known, lowest[..., place], estimates)


def with_lowest(coefficients: NDArray[np.int16], lowest: NDArray[np.int16] | None) -> NDArray[np.int16]:
    """Return coefficients with their lowest ones replaced, for the inverse DCT; as they are if that is None.

    Args:
        coefficients: (rows, columns, n, n) int16, the n x n lowest frequencies of each block.
        lowest: (rows, columns, 10) int16, zigzag order.
    """
    if lowest is None:
        return coefficients
    replaced = coefficients.copy()
    for place, natural in enumerate(ZIGZAG_TO_NATURAL[:ESTIMATED]):
        v, u = divmod(int(natural), 8)
        if max(v, u) < coefficients.shape[2]:
            replaced[..., v, u] = lowest[..., place]
    return replaced
