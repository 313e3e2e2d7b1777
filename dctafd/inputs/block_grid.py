"""The grid of coefficients under the classifier's crop, one 8x8 block of Y, Cb and Cr a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dctafd.inputs.geometry import CELL, CropGeometry
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
    survival: Sequence[NDArray[np.float32]],
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
        survival: what share of each component's steps survives the resize, (8, 8) float32, upright.

    Returns:
        (192, G, G) coefficients, clipped to +-16384, zero where a cell is outside the picture: int16, or
        float32 where colours were converted; their (192,) float32 steps; and what share of these survives,
        (192,) float32, 1 where there is no component.
    """
    turn = geometry.orientation
    signs = turn.frequency_signs()
    if header.color_space == "ycck":
        signs = -signs
    converts = header.color_space in ("rgb", "cmyk")
    limit = NO_LIMIT if converts else LIMIT
    cells = geometry.y.crop // CELL, geometry.x.crop // CELL
    # Whole numbers as they are take half the memory, and are written and read in half the time.
    planes = np.empty((3, 64, *cells), np.float32 if converts else np.int16)
    steps = np.zeros((3, 8, 8), np.float32)
    surviving = np.ones((3, 8, 8), np.float32)
    for index, grid in enumerate(components[:3]):
        table = header.components[index].quant_table.astype(np.int32)
        dequantize_grid(
            grid.blocks, grid.rows, grid.columns, table * signs, turn.transpose, limit, planes[index]
        )
        steps[index] = table.T if turn.transpose else table
        surviving[index] = survival[index]
    planes[len(components) :] = 0
    if converts:
        planes = np.clip(np.tensordot(RGB_TO_YCC, planes, axes=1), -LIMIT, LIMIT)
        steps, surviving = steps[MAIN_CONTRIBUTORS], surviving[MAIN_CONTRIBUTORS]
    if geometry.y.offset < 0 or geometry.x.offset < 0:
        planes *= np.logical_and.outer(geometry.y.cells_inside(), geometry.x.cells_inside())
    return planes.reshape(192, *cells), steps.reshape(192), surviving.reshape(192)
