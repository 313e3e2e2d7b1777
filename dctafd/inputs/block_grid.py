"""The grid of coefficients under the classifier's crop, one 8x8 block of Y, Cb and Cr a cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.inputs.geometry import CELL, CropGeometry, Orientation
from dctafd.jpeg.coefficients import JpegHeader
from dctafd_native.dequantize import dequantize_grid

LIMIT = np.int32(16384)
NO_LIMIT = np.int32(2**31 - 1)
RGB_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
MAIN_CONTRIBUTORS = [1, 2, 0]  # green for Y, blue for Cb, red for Cr


class GridBlocks(NamedTuple):
    """One component's blocks under the cells, in stored order of axes: where rows and columns cross.

    Attributes:
        blocks: (.., .., 8, 8) int16, quantised.
        rows, columns: (G,) intp; rows go with the cells' columns where the picture is transposed.
    """

    blocks: NDArray[np.int16]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]

    def distinct(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.int16]:
        """Return the blocks under some rows and columns of cells, (n, 8, 8)."""
        return self.blocks[self.rows[rows][:, None], self.columns[columns]].reshape(-1, 8, 8)


def block_grid(
    header: JpegHeader,
    geometry: CropGeometry,
    components: Sequence[GridBlocks],
    survival: NDArray[np.float32],
) -> tuple[NDArray[np.int16] | NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Dequantise, turn upright and convert to Y, Cb, Cr the blocks under the cells of the crop.

    The DCT is linear, so RGB blocks convert as pixels do; their steps are those of the channel that
    contributes most (green for Y, blue for Cb, red for Cr). Of four components the black one is left out,
    which makes these grids approximations: CMYK is stored inverted, so C, M and Y count as R, G and B, and
    YCCK's Y, Cb and Cr describe the complement, so they are negated. Chroma of a gray photo is zero.

    Args:
        header: the photo's header facts.
        geometry: where the crop lies.
        components: each component's blocks under the cells.
        survival: what share of each component's steps survives the resize, (3, 8, 8) float32, upright.

    Returns:
        (192, G, G) coefficients, clipped to +-16384, zero where a cell is outside the picture: int16, or
        float32 where colours were converted; their (192,) float32 steps; and what share of these survives,
        (192,) float32, 1 where there is no component. All are the caller's own, to write in.
    """
    turn = geometry.orientation
    converts = header.color_space in ("rgb", "cmyk")
    # Whole numbers as they are take half the memory, and are written and read in half the time.
    limit = NO_LIMIT if converts else LIMIT
    cells = geometry.y.crop // CELL, geometry.x.crop // CELL
    planes: NDArray[Any] = np.empty((3, 64, *cells), np.float32 if converts else np.int16)
    shown = header.components[:3]
    factors, steps = _quantization(
        tuple(np.asarray(component.quant_table, np.uint16).tobytes() for component in shown),
        turn,
        header.color_space == "ycck",
    )
    for index, grid in enumerate(components[:3]):
        dequantize_grid(
            grid.blocks, grid.rows, grid.columns, factors[index], turn.transpose, limit, planes[index]
        )
    planes[len(shown) :] = 0
    if converts:
        planes = np.clip(np.tensordot(RGB_TO_YCC, planes, axes=1), -LIMIT, LIMIT)
        steps, survival = steps[MAIN_CONTRIBUTORS], survival[MAIN_CONTRIBUTORS]
    if geometry.y.offset < 0 or geometry.x.offset < 0:
        planes *= np.logical_and.outer(geometry.y.cells_inside(), geometry.x.cells_inside())
    # Copies: photos of one kind share what these are of, which PyTorch would not take without a warning.
    return planes.reshape(192, *cells), steps.reshape(192).copy(), survival.reshape(192).copy()


@lru_cache(maxsize=256)
def _quantization(
    tables: tuple[bytes, ...], turn: Orientation, negated: bool
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return what blocks are multiplied by, (n, 8, 8), and the steps upright, (3, 8, 8), or 0."""
    stored = np.stack([np.frombuffer(table, np.uint16).reshape(8, 8) for table in tables]).astype(np.int32)
    steps = np.zeros((3, 8, 8), np.float32)
    steps[: len(tables)] = stored.transpose(0, 2, 1) if turn.transpose else stored
    steps.flags.writeable = False
    return stored * (turn.frequency_signs() * (-1 if negated else 1)), steps
