"""The grid of coefficients under the classifier's crop, one 8x8 block of Y, Cb and Cr a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import JpegHeader
from dctafd.pipeline.geometry import CropGeometry
from dctafd_native.dequantize import dequantize_grid

LIMIT = np.float32(16384)
RGB_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
MAIN_CONTRIBUTORS = [1, 2, 0]  # green for Y, blue for Cb, red for Cr


def block_grid(
    header: JpegHeader, geometry: CropGeometry, blocks: Sequence[NDArray[np.int16]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Dequantise, turn upright and convert to Y, Cb, Cr the blocks under the cells of the crop.

    The DCT is linear, so RGB blocks convert as pixels do; their steps are those of the channel that
    contributes most (green for Y, blue for Cb, red for Cr). Of four components the black one is left out,
    which makes these grids approximations: CMYK is stored inverted, so C, M and Y count as R, G and B, and
    YCCK's Y, Cb and Cr describe the complement, so they are negated. Chroma of a gray photo is zero.

    Args:
        header: the photo's header facts.
        geometry: where the crop lies.
        blocks: one array a component, (G, G, 8, 8) int16 quantised, as `geometry.grid_blocks` names them.

    Returns:
        (192, G, G) float32 coefficients, clipped to +-16384, zero where a cell is outside the picture; and
        their (192,) float32 steps.
    """
    turn = geometry.orientation
    inside = geometry.y.cells_inside(), geometry.x.cells_inside()
    signs = turn.frequency_signs()
    if header.color_space == "ycck":
        signs = -signs
    converts = header.color_space in ("rgb", "cmyk")
    limit = np.float32(np.inf) if converts else LIMIT
    planes = np.zeros((3, 64, len(inside[0]), len(inside[1])), np.float32)
    steps = np.zeros((3, 8, 8), np.float32)
    for index, quantized in enumerate(blocks[:3]):
        table = header.components[index].quant_table.astype(np.float32)
        dequantize_grid(quantized, table * signs, turn.transpose, *inside, limit, planes[index])
        steps[index] = table.T if turn.transpose else table
    if converts:
        planes = np.clip(np.tensordot(RGB_TO_YCC, planes, axes=1), -LIMIT, LIMIT)
        steps = steps[MAIN_CONTRIBUTORS]
    return planes.reshape(192, *planes.shape[2:]), steps.reshape(192)
