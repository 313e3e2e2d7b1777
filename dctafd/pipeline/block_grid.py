"""The grid of coefficients under the classifier's crop, one 8x8 block of Y, Cb and Cr a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dctafd.jpeg.coefficients import JpegHeader
from dctafd.pipeline.geometry import CropGeometry

LIMIT = 16384.0
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
    turned, steps = [], []
    for component, quantized in list(zip(header.components, blocks, strict=True))[:3]:
        table = component.quant_table.astype(np.float32)
        upright = geometry.orientation.turn_frequencies(quantized * table)
        turned.append(upright.swapaxes(0, 1) if geometry.orientation.transpose else upright)
        steps.append(table.T if geometry.orientation.transpose else table)
    planes = np.stack(turned)  # (components, G, G, 8, 8)
    tables = np.stack(steps)
    if header.color_space in ("rgb", "cmyk"):
        planes = np.tensordot(RGB_TO_YCC, planes, axes=1)
        tables = tables[MAIN_CONTRIBUTORS]
    elif header.color_space == "ycck":
        planes = -planes
    planes = np.where(geometry.cells_inside()[:, :, None, None], np.clip(planes, -LIMIT, LIMIT), 0)
    cells = planes.shape[1]
    coefficients = np.zeros((192, cells, cells), np.float32)
    coefficients[: 64 * len(planes)] = planes.transpose(0, 3, 4, 1, 2).reshape(-1, cells, cells)
    all_steps = np.zeros(192, np.float32)
    all_steps[: 64 * len(tables)] = tables.reshape(-1)
    return coefficients, all_steps
