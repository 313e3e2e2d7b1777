"""Dequantisation of a grid of blocks to one plane a frequency."""

import numpy as np

from dctafd_native.jit import kernel


@kernel
def dequantize_grid(blocks, factors, transpose, inside_rows, inside_columns, limit, out):
    """Multiply blocks by their steps and sort them by frequency.

    Args:
        blocks: (rows, columns, 8, 8) int16, quantised, natural order.
        factors: (8, 8) float32, quantisation steps, negated where a mirrored picture wants it.
        transpose: whether to transpose the grid and each of its blocks.
        inside_rows, inside_columns: bool, one a row and one a column of `out`; where one is false the cell
            is zero.
        limit: coefficients are clipped to -limit .. limit (float32).
        out: (64, rows, columns) float32, filled; (64, columns, rows) if transposed.
    """
    for i in range(out.shape[1]):
        for frequency in range(64):
            v, u = frequency // 8, frequency % 8
            if transpose:
                v, u = u, v
            factor = factors[v, u]
            line = out[frequency, i]
            for j in range(out.shape[2]):
                quantized = blocks[j, i, v, u] if transpose else blocks[i, j, v, u]
                value = min(max(np.float32(quantized) * factor, -limit), limit)
                line[j] = value if inside_rows[i] and inside_columns[j] else np.float32(0)
