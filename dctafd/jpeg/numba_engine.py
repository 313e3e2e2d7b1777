"""Coefficients through our own kernels (`dctafd_native.entropy`): all of them, or only those of a plan."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg import jpeglib_engine
from dctafd.jpeg.partial import ComponentPlan, PartialComponent, check_plans, slice_plan
from dctafd.jpeg.structure import JpegStructure


def read_coefficients(data: bytes, structure: JpegStructure) -> tuple[list[NDArray[np.int16]], list[str]]:
    """Read all coefficients.

    Args:
        data: the file's bytes.
        structure: what `parse_markers` made of them.

    Returns:
        One (block rows, block columns, 8, 8) int16 array a component, natural order; and what is missing.

    Raises:
        UnsupportedJpegError: the file is arithmetic-coded.
    """
    return jpeglib_engine.read_coefficients(data, structure)


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
    """
    check_plans(structure.frame, plans)
    coefficients, damage = read_coefficients(data, structure)
    return [slice_plan(array, plan) for array, plan in zip(coefficients, plans, strict=True)], damage
