"""Which coefficients of a file somebody will read, and those coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.structure import Frame

KEEPS = (1, 2, 4, 8)


def _no_blocks() -> NDArray[np.intp]:
    return np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class ComponentPlan:
    """What to keep of one component; what it does not name is decoded past and dropped.

    Attributes:
        keep: side of the low-frequency corner kept of each block of the window: 1, 2, 4 or 8.
        window: (top, bottom, left, right) in blocks, ends exclusive, inside the component; may be empty.
        grid_rows, grid_columns: block rows and block columns, (R,) and (C,) integers in any order, repeats
            allowed: all 64 coefficients of the R x C blocks where they cross are kept as well.
    """

    keep: int
    window: tuple[int, int, int, int]
    grid_rows: NDArray[np.intp] = field(default_factory=_no_blocks)
    grid_columns: NDArray[np.intp] = field(default_factory=_no_blocks)

    @classmethod
    def everything(cls, rows: int, columns: int) -> ComponentPlan:
        """Plan to keep all of a component of so many rows and columns of blocks."""
        return cls(8, (0, rows, 0, columns))

    @property
    def has_grid(self) -> bool:
        """Whether it names blocks besides the window."""
        return bool(self.grid_rows.size and self.grid_columns.size)


class PartialComponent(NamedTuple):
    """What was kept of one component.

    Attributes:
        corners: (window rows, window columns, keep, keep) int16, natural order: of each block of the window
            the ``keep`` lowest vertical and horizontal frequencies.
        grid: (R, C, 8, 8) int16, natural order: the blocks named by `grid_rows` and `grid_columns`.
        lowest: (window rows, window columns, 10) int16, zigzag order: what stands in for the lowest
            coefficients where pixels are made of them (`dctafd.jpeg.smoothing`); None as a rule.
        missing_bits: `ComponentHeader.missing_bits`.
        grid_places: where `grid` holds each block but once, the places in it of the plan's rows and of its
            columns; None where it holds all R x C.
    """

    corners: NDArray[np.int16]
    grid: NDArray[np.int16]
    lowest: NDArray[np.int16] | None = None
    missing_bits: NDArray[np.int8] | None = None
    grid_places: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None


class Decoded(NamedTuple):
    """What an engine made of a file's scans.

    Attributes:
        components: what was kept of each component.
        damage: what is missing or wrong, in words.
    """

    components: list[PartialComponent]
    damage: list[str]


def check_plans(frame: Frame, plans: Sequence[ComponentPlan]) -> None:
    """Raise ValueError unless there is one plan per component and each stays inside its component."""
    if len(plans) != len(frame.components):
        raise ValueError(f"{len(plans)} plans for {len(frame.components)} components")
    for index, plan in enumerate(plans):
        rows, columns = frame.blocks[index]
        top, bottom, left, right = plan.window
        if plan.keep not in KEEPS:
            raise ValueError(f"keep is one of {KEEPS}, not {plan.keep}")
        if not (0 <= top <= bottom <= rows and 0 <= left <= right <= columns):
            raise ValueError(f"window {plan.window} is outside {rows} x {columns} blocks")
        for name, chosen, size in (
            ("grid_rows", plan.grid_rows, rows),
            ("grid_columns", plan.grid_columns, columns),
        ):
            if chosen.size and not (int(chosen.min()) >= 0 and int(chosen.max()) < size):
                raise ValueError(f"{name} reaches outside 0..{size - 1}")


def slice_plan(
    coefficients: NDArray[np.int16],
    plan: ComponentPlan,
    lowest: NDArray[np.int16] | None = None,
    missing_bits: NDArray[np.int8] | None = None,
) -> PartialComponent:
    """Take what `plan` names from all coefficients of a component, (rows, columns, 8, 8) int16."""
    top, bottom, left, right = plan.window
    corners = np.ascontiguousarray(coefficients[top:bottom, left:right, : plan.keep, : plan.keep])
    grid = coefficients[plan.grid_rows[:, None], plan.grid_columns[None, :]]
    if lowest is not None:
        lowest = lowest[top:bottom, left:right]
    return PartialComponent(corners, grid, lowest, missing_bits)
