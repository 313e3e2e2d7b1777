"""Dequantisation of a grid of blocks to one plane per frequency."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from dctafd_native.jit import kernel
from dctafd_native.lanes import Lanes, address, load, splat, store, stride, transposed

GROUP = 8  # cells that are dequantised at once


def _write_cell_group(typingctx, blocks, rows, columns, factors, i, j, limit, out, transpose):
    """Dequantise the blocks of cells [i, j : j + GROUP] of `out`; transpose: literal 0 or 1."""
    turned = bool(transpose.literal_value)
    whole = out.dtype == types.int16

    def codegen(context, builder, signature, arguments):
        blocks, rows, columns, factors, i, j, limit, out, _ = arguments
        kinds = signature.args
        low, high = splat(builder, builder.neg(limit), 8), splat(builder, limit, 8)
        first_out = address(context, builder, kinds[7], out, 0, i, j)
        plane = builder.udiv(
            stride(context, builder, kinds[7], out, 0), i.type(2 if whole else 4)
        )  # in elements
        starts = []
        for cell in range(GROUP):
            place = (i, builder.add(j, j.type(cell)))
            block = (
                builder.load(address(context, builder, kind, array, position))
                for kind, array, position in zip(
                    kinds[1:3], (rows, columns), place[::-1] if turned else place, strict=True
                )
            )
            starts.append(address(context, builder, kinds[0], blocks, *block))
        for v in range(8):
            steps = load(builder, address(context, builder, kinds[3], factors, v), 32, 8)
            lines = []
            for start in starts:
                row = load(builder, builder.gep(start, [i.type(8 * v)]), 16, 8)
                line = (row.widened(32, signed=True) * steps).clamp(low, high)
                lines.append(line.narrowed(16) if whole else line)
            for u, cells in enumerate(transposed(lines)):
                frequency = i.type(8 * u + v if turned else 8 * v + u)
                pointer = builder.gep(first_out, [builder.mul(plane, frequency)])
                store(cells if whole else Lanes(builder, cells.as_floats()), pointer)
        return context.get_dummy_value()

    index = types.intp
    return types.void(blocks, rows, columns, factors, index, index, types.int32, out, transpose), codegen


_cell_group: Any = intrinsic(prefer_literal=True)(_write_cell_group)


@kernel
def dequantize_grid(blocks, rows, columns, factors, transpose, limit, out):
    """Multiply chosen blocks by their steps and sort them by frequency.

    Args:
        blocks: (.., .., 8, 8) int16, quantised, natural order.
        rows, columns: (R,) and (C,) intp, the rows and columns of blocks that the grid is made of, all in
            range.
        factors: (8, 8) int32, quantisation steps, negated where a mirrored picture wants it.
        transpose: whether to transpose the grid and each of its blocks.
        limit: coefficients are clipped to -limit .. limit (int32).
        out: (64, R, C) int16 or float32, filled; (64, C, R) if transposed. For int16 `limit` has to fit.
    """
    width = out.shape[2]
    for i in range(out.shape[1]):
        for first in range(0, width, GROUP):
            j = min(first, width - GROUP)
            if j >= 0 and transpose:
                _cell_group(blocks, rows, columns, factors, i, j, limit, out, 1)
            elif j >= 0:
                _cell_group(blocks, rows, columns, factors, i, j, limit, out, 0)
        for j in range(width if width < GROUP else 0):
            for frequency in range(64):
                v, u = frequency // 8, frequency % 8
                if transpose:
                    value = np.int64(blocks[rows[j], columns[i], u, v]) * factors[u, v]
                else:
                    value = np.int64(blocks[rows[i], columns[j], v, u]) * factors[v, u]
                out[frequency, i, j] = min(max(value, -limit), limit)
