"""Resizing by Pillow's antialiased bilinear filter, in its 8-bit fixed-point arithmetic (Resample.c).

First along rows, rounded to uint8, then along columns; weights have 22 fractional bits. Output sample j
is the sum of weights[j, k] * source[starts[j] + k], for k below counts[j]. (Pillow 13 resizes columns first
where a
picture loses more than twice as many rows as columns; the results differ by 1 level at most.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dctafd_native.jit import kernel
from dctafd_native.lanes import Lanes, address, load, row_stride, splat, store

PRECISION_BITS = 22
ROWS = 4  # rows that are resized at once
PIXELS = 8  # pixels of a row that are normalised at once


@kernel
def bilinear_weights(box_start, box_stop, source_size, out_size, first, starts, counts, weights):
    """Fill in the filter of outputs first, first + 1, ... of a resize of one axis.

    Args:
        box_start, box_stop: the part of the source, in samples, that is resized (float64).
        source_size: samples there are; the filter is cut off beyond them.
        out_size: size to which the box is resized.
        first: the first output wanted.
        starts, counts: (n,) int32, filled: first source sample and number of samples of each output.
        weights: (n, width) int32, filled; width is at least `weight_count(...)`.
    """
    scale = (box_stop - box_start) / out_size
    support = max(scale, 1.0)
    exact = np.empty(weights.shape[1], np.float64)
    for j in range(starts.shape[0]):
        center = box_start + (first + j + 0.5) * scale
        start = max(int(center - support + 0.5), 0)
        count = min(min(int(center + support + 0.5), source_size) - start, weights.shape[1])
        total = 0.0
        for k in range(count):
            exact[k] = max(1.0 - abs((k + start - center + 0.5) / support), 0.0)
            total += exact[k]
        starts[j] = start
        counts[j] = count
        for k in range(count):
            weights[j, k] = int(exact[k] / total * (1 << PRECISION_BITS) + 0.5)


def weight_count(box_size: float, out_size: int) -> int:
    """Return the largest number of source samples that an output sample is made of."""
    return int(np.ceil(max(box_size / out_size, 1.0))) * 2 + 1


def _sum_weighted(builder, pointers, stride, weight, count, lanes):
    """Return sums of `count` groups of samples times their weights, with half a level added for rounding.

    One sum a pointer: its k-th group is the `lanes` bytes at pointer + k * stride. `weight` points at the
    weights, 32 bits each.
    """
    half = splat(builder, ir.Constant(ir.IntType(32), 1 << (PRECISION_BITS - 1)), lanes)
    totals = [cgutils.alloca_once_value(builder, half.value) for _ in pointers]
    with cgutils.for_range(builder, count) as loop:
        factor = splat(builder, builder.load(builder.gep(weight, [loop.index])), lanes)
        place = builder.mul(loop.index, stride)
        for pointer, total in zip(pointers, totals, strict=True):
            samples = load(builder, builder.gep(pointer, [place]), 8, lanes).widened(32, signed=False)
            builder.store((Lanes(builder, builder.load(total)) + samples * factor).value, total)
    return [Lanes(builder, builder.load(total)) for total in totals]


def _write_resized_pixels(typingctx, source, i, start, weights, j, count, out, rows):
    """Set out[i : i + rows, j] to weighted sums of `count` pixels from source[.., start] on."""
    height = rows.literal_value

    def codegen(context, builder, signature, arguments):
        source, i, start, weights, j, count, out, _ = arguments
        kinds = signature.args
        lines = [builder.add(i, i.type(row)) for row in range(height)]
        pointers = [address(context, builder, kinds[0], source, line, start) for line in lines]
        weight = address(context, builder, kinds[3], weights, j)
        for line, total in zip(
            lines, _sum_weighted(builder, pointers, count.type(4), weight, count, 4), strict=True
        ):
            level = (total >> PRECISION_BITS).clamp(0, 255).narrowed(8)
            store(level, address(context, builder, kinds[6], out, line, j))
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, weights, index, index, out, rows), codegen


_resized_pixels: Any = intrinsic(prefer_literal=True)(_write_resized_pixels)


@kernel
def resize_rows(source, origin, starts, counts, weights, out):
    """Resize along rows.

    Args:
        source: (rows, columns, 4) uint8; `origin` is the place of its first column in the whole picture.
        starts, counts, weights: from `bilinear_weights`; all samples they name have to be in `source`.
        out: (rows, outputs, 4) uint8.
    """
    whole = out.shape[0] - out.shape[0] % ROWS
    for i in range(0, whole, ROWS):
        for j in range(out.shape[1]):
            _resized_pixels(source, i, starts[j] - origin, weights, j, counts[j], out, ROWS)
    for i in range(whole, out.shape[0]):
        for j in range(out.shape[1]):
            _resized_pixels(source, i, starts[j] - origin, weights, j, counts[j], out, 1)


def _write_normalized_pixels(typingctx, source, row, j, weights, i, count, gain, offset, out, y, x):
    """Set out[:, y, x : x + PIXELS] to weighted sums of `count` rows of pixels from source[row, j] on."""

    def codegen(context, builder, signature, arguments):
        source, row, j, weights, i, count, gain, offset, out, y, x = arguments
        kinds = signature.args
        first = address(context, builder, kinds[0], source, row, j)
        stride = row_stride(context, builder, kinds[0], source)
        weight = address(context, builder, kinds[3], weights, i)
        (total,) = _sum_weighted(builder, [first], stride, weight, count, 4 * PIXELS)
        levels = (total >> PRECISION_BITS).clamp(0, 255)
        for channel in range(3):
            numbers = levels.pick(range(channel, 4 * PIXELS, 4)).as_floats()
            factor, shift = (
                splat(builder, builder.load(address(context, builder, kind, array, channel)), PIXELS).value
                for kind, array in ((kinds[6], gain), (kinds[7], offset))
            )
            normalized = builder.fadd(builder.fmul(numbers, factor), shift)
            store(Lanes(builder, normalized), address(context, builder, kinds[8], out, channel, y, x))
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, weights, index, index, gain, offset, out, index, index), codegen


_normalized_pixels: Any = intrinsic(_write_normalized_pixels)


@kernel
def _normalized_sample(source, start, j, weights, i, count, channel, gain, offset):
    """Return one normalised sample, as `_normalized_pixels` computes it."""
    total = 1 << (PRECISION_BITS - 1)
    for k in range(count):
        total += weights[i, k] * source[start + k, j, channel]
    return np.float32(min(total >> PRECISION_BITS, 255)) * gain[channel] + offset[channel]


@kernel
def resize_columns(source, origin, starts, counts, weights, gain, offset, top, left, out):
    """Resize along columns, then normalise and separate the channels.

    Args:
        source: (rows, columns, 4) uint8; `origin` is the place of its first row in the whole picture.
        starts, counts, weights: from `bilinear_weights`; all samples they name have to be in `source`.
        gain, offset: (3,) float32; a sample s of channel c becomes s * gain[c] + offset[c].
        top, left: where the first output goes in `out`.
        out: (3, height, width) float32; top + outputs <= height, left + columns <= width.
    """
    whole = source.shape[1] - source.shape[1] % PIXELS
    for i in range(starts.shape[0]):
        row, count, y = starts[i] - origin, counts[i], top + i
        for j in range(0, whole, PIXELS):
            _normalized_pixels(source, row, j, weights, i, count, gain, offset, out, y, left + j)
        for j in range(whole, source.shape[1]):
            for c in range(3):
                out[c, y, left + j] = _normalized_sample(source, row, j, weights, i, count, c, gain, offset)
