"""Inverse DCT of quantised 8x8 blocks to 8x8, 4x4, 2x2 or 1x1 samples, as libjpeg's integer methods do it.

Full size is libjpeg's accurate integer method (jidctint.c); the reduced sizes are those of jidctred.c, whose
samples are close to means of 2x2, 4x4 and 8x8 full-size samples. Every method is separable: columns first,
rounded to 2 extra bits, then rows, rounded to whole samples, level-shifted by 128 and clamped to 0..255.
The butterflies of the C files are linear until they round, so constants that would be added up at run time
are added up here (13 fractional bits), and results are the same to the bit.

Damaged files hold coefficients that no encoder writes. Full size treats them like libjpeg-turbo's SIMD code
for x86, so that such files still decode as with Pillow: dequantised values and the first sums of a butterfly
wrap to 16 bits, column results saturate to 16 bits, other sums wrap to 32. Where all rows below the first are
zero, for which the SIMD code has a short cut, column results wrap, too. No coefficient leads to an index.

A block is transformed eight columns or rows at a time, as `Lanes`. `butterfly_8` and its smaller brothers are
plain arithmetic on anything that adds, multiplies and shifts: lanes here, NumPy arrays in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from dctafd_native.jit import kernel
from dctafd_native.lanes import Lanes, address, load, splat, store, transposed


def _wrapped(lanes: Any) -> Any:
    """Wrap to 16 bits."""
    return (lanes << 16) >> 16


def butterfly_8(x: Sequence[Any]) -> list[Any]:
    """Return 8 samples, 13 fractional bits and a factor sqrt(8), of 8 frequencies (jidctint.c)."""
    sum04, difference04 = _wrapped(x[0] + x[4]) << 13, _wrapped(x[0] - x[4]) << 13
    outer26 = x[2] * 10703 + x[6] * 4433
    inner26 = x[2] * 4433 - x[6] * 10704
    even = [sum04 + outer26, difference04 + inner26, difference04 - inner26, sum04 - outer26]
    sum37, sum15 = _wrapped(x[3] + x[7]), _wrapped(x[1] + x[5])
    outer = sum37 * 9633 + sum15 * 6437
    inner = sum15 * 9633 - sum37 * 6436
    odd = [
        outer + x[1] * 4926 - x[7] * 7373,
        inner + x[3] * 4177 - x[5] * 20995,
        outer - x[5] * 4176 - x[3] * 20995,
        inner - x[7] * 4927 - x[1] * 7373,
    ]
    first = [e + o for e, o in zip(even, odd, strict=True)]
    last = [e - o for e, o in zip(even, odd, strict=True)]
    return first + last[::-1]


def butterfly_4(x: Sequence[Any]) -> list[Any]:
    """Return 4 samples, 14 fractional bits and a factor sqrt(8), of 8 frequencies (jidctred.c, 4x4)."""
    mean = x[0] << 14
    even = x[2] * 15137 - x[6] * 6270
    outer = x[1] * 20995 + x[3] * 7373 - x[5] * 4926 - x[7] * 4176
    inner = x[1] * 8697 - x[3] * 17799 + x[5] * 11893 - x[7] * 1730
    return [mean + even + outer, mean - even + inner, mean - even - inner, mean + even - outer]


def butterfly_2(x: Sequence[Any]) -> list[Any]:
    """Return 2 samples, 15 fractional bits and a factor sqrt(8), of 8 frequencies (jidctred.c, 2x2)."""
    mean = x[0] << 15
    odd = x[1] * 29692 - x[3] * 10426 + x[5] * 6967 - x[7] * 5906
    return [mean + odd, mean - odd]


BUTTERFLIES = {8: (butterfly_8, 13), 4: (butterfly_4, 14), 2: (butterfly_2, 15)}


def _dequantized(block: Sequence[Lanes], table: Sequence[Lanes]) -> list[Lanes]:
    """Multiply rows of coefficients by their steps in 16 bits; widen them and fill up to 8x8 with zeros."""
    corner = block[0].count
    lanes = [min(lane, corner) for lane in range(8)]
    rows = []
    for coefficients, steps in zip(block, table, strict=True):
        product = coefficients * steps
        rows.append(product.pick(lanes, product.same(0)).widened(32, signed=True))
    return rows + [rows[0].same(0)] * (8 - len(rows))


def _write_transform(typingctx, coefficients, i, j, table, out, y, x, size, frequencies):
    """Write the size x size samples at out[y, x] of block [i, j], of which only a corner is not zero.

    coefficients: (.., .., 8, 8) int16; table: (8, 8) int16; out: uint8; size: literal 2, 4 or 8; frequencies:
    literal 4 or 8, the corner's side, or 1 for the first row. Checks no bounds.
    """
    samples, corner = size.literal_value, frequencies.literal_value
    butterfly, fraction = BUTTERFLIES[samples]

    def codegen(context, builder, signature, arguments):
        coefficients, i, j, table, out, y, x, _, _ = arguments
        kinds = signature.args
        rows, columns = (1, 8) if corner == 1 else (corner, corner)
        block = [
            load(builder, address(context, builder, kinds[0], coefficients, i, j, row), 16, columns)
            for row in range(rows)
        ]
        steps = [
            load(builder, address(context, builder, kinds[3], table, row), 16, columns) for row in range(rows)
        ]
        lanes = _dequantized(block, steps)
        zero = lanes[0].same(0)
        if corner == 1:
            workspace = [_wrapped(lanes[0] << 2)] * samples
        else:
            shift = fraction - 2
            sums = [(row + (1 << (shift - 1))) >> shift for row in butterfly(lanes)]
            workspace = [row.clamp(-32768, 32767) for row in sums]
        columns_of = transposed(workspace + [zero] * (8 - samples))[:columns]
        shift = fraction + 5
        lines = butterfly(columns_of + [zero] * (8 - columns))
        levels = [((line + (1 << (shift - 1))) >> shift) + 128 for line in lines]
        pixels = transposed([level.clamp(0, 255) for level in levels] + [zero] * (8 - samples))
        for row, pixel in enumerate(pixels[:samples]):
            pointer = address(context, builder, kinds[4], out, builder.add(y, y.type(row)), x)
            store(pixel.pick(range(samples)).narrowed(8), pointer)
        return context.get_dummy_value()

    index = types.intp
    arguments = (coefficients, index, index, table, out, index, index, size, frequencies)
    return types.void(*arguments), codegen


_transform: Any = intrinsic(prefer_literal=True)(_write_transform)


def _write_flat(typingctx, sample, out, y, x, size):
    """Set out[y : y + size, x : x + size] to one sample; size: literal."""
    samples = size.literal_value

    def codegen(context, builder, signature, arguments):
        sample, out, y, x, _ = arguments
        line = splat(builder, sample, samples)
        for row in range(samples):
            store(line, address(context, builder, signature.args[1], out, builder.add(y, y.type(row)), x))
        return context.get_dummy_value()

    return types.void(types.uint8, out, types.intp, types.intp, size), codegen


_flat: Any = intrinsic(prefer_literal=True)(_write_flat)


@kernel
def _mean_sample(coefficients, i, j, table):
    """Return the sample of a block that has only a mean, as the first row's short cut computes it."""
    mean = np.int64(np.int16(np.int16(coefficients[i, j, 0, 0] * table[0, 0]) << 2))
    return min(max(((mean + 16) >> 5) + 128, 0), 255)


@kernel
def _occupied_corner(coefficients, words, i, j):
    """Say where a block is not zero: 0 at its mean only, 1 in its first row, 4 in a 4x4 corner, 8 anywhere.

    coefficients: (.., .., 8, 8) int16; words: (.., .., 8, 2) uint64, the same memory.
    """
    near = words[i, j, 1, 0] | words[i, j, 2, 0] | words[i, j, 3, 0]
    below = words[i, j, 4, 0] | words[i, j, 5, 0] | words[i, j, 6, 0] | words[i, j, 7, 0]
    for row in range(1, 8):
        below |= words[i, j, row, 1]
    right = words[i, j, 0, 1]
    if below != 0 or (near != 0 and right != 0):
        return 8
    if near != 0:
        return 4
    first = coefficients[i, j, 0, 1] | coefficients[i, j, 0, 2] | coefficients[i, j, 0, 3]
    return 1 if right != 0 or first != 0 else 0


def _inverse_dct(size: int) -> Any:
    """Return the kernel for `size` x `size` samples a block: 8 (jidctint.c), 4 or 2 (jidctred.c)."""

    @kernel
    def inverse_dct(coefficients, table, top, left, out):
        """Transform a window of blocks.

        Args:
            coefficients: (rows, columns, 8, 8) int16, quantised, natural order.
            table: (8, 8) int16, quantisation steps, natural order (16-bit steps wrap, as in libjpeg).
            top, left: the window's first block; the window has to lie inside `coefficients`.
            out: (size * window rows, size * window columns) uint8.
        """
        words = coefficients.view(np.uint64)
        for i in range(out.shape[0] // size):
            for j in range(out.shape[1] // size):
                occupied = _occupied_corner(coefficients, words, top + i, left + j)
                y, x = size * i, size * j
                if occupied == 0:
                    _flat(_mean_sample(coefficients, top + i, left + j, table), out, y, x, size)
                elif occupied == 1:
                    _transform(coefficients, top + i, left + j, table, out, y, x, size, 1)
                elif occupied == 4:
                    _transform(coefficients, top + i, left + j, table, out, y, x, size, 4)
                else:
                    _transform(coefficients, top + i, left + j, table, out, y, x, size, 8)

    return inverse_dct


@kernel
def idct_1x1(coefficients, table, top, left, out):
    """Transform a window of blocks to one sample each; arguments as for the other sizes.

    Of a block only the first coefficient is read: `coefficients` may be (rows, columns, 1, 1). Levels wrap to
    10 bits before they are limited (jidctred.c, jpeg_idct_1x1; jdmaster.c, prepare_range_limit_table).
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            mean = np.int32(coefficients[top + i, left + j, 0, 0]) * np.int32(table[0, 0])
            level = ((((mean + 4) >> 3) + 512) & 1023) - 512
            out[i, j] = min(max(level + 128, 0), 255)


KERNELS = {8: _inverse_dct(8), 4: _inverse_dct(4), 2: _inverse_dct(2), 1: idct_1x1}
"""By samples a side of a block."""
