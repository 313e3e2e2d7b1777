"""Resizing by Pillow's antialiased bilinear filter, in its 8-bit fixed-point arithmetic (Resample.c).

First along rows, rounded to uint8, then along columns; weights have 22 fractional bits. Output sample j
is the sum of weights[j, k] * source[starts[j] + k], for k below counts[j]. (Pillow 13 resizes columns first
where a picture loses more than twice as many rows as columns; the results differ by 1 level at most.)

Channels are planes of their own. Rows are resized from planes that lie column by column, so that a whole
vector of neighbouring rows has the same weight, and turned back tile by tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dctafd_native.jit import kernel
from dctafd_native.lanes import Lanes, address, load, splat, store, stride, transposed

PRECISION_BITS = 22
TILE = 16  # samples a side of what is transposed at once
ROWS = 32  # rows that are resized at once


@kernel
def bilinear_weights(box_start, box_stop, source_size, out_size, first, starts, counts, weights):
    """Fill in the filter of outputs first, first + 1, ... of a resize of one axis.

    Args:
        box_start, box_stop: the part of the source, in samples, that is resized (float64).
        source_size: samples there are; the filter is cut off beyond them.
        out_size: size to which the box is resized.
        first: the first output wanted.
        starts, counts: (n,) int32, filled: first source sample and number of samples of each output.
        weights: (n, width) int32, filled, with zeros behind the last; width is at least `weight_count(...)`.
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
        weights[j, count:] = 0


def weight_count(box_size: float, out_size: int) -> int:
    """Return the largest number of source samples that an output sample is made of."""
    return int(np.ceil(max(box_size / out_size, 1.0))) * 2 + 1


def padded_rows(rows: int) -> int:
    """Return the rows that `resize_rows` wants room for."""
    return -(-rows // ROWS) * ROWS


def _write_transposed_tile(typingctx, source, channel, i, j, last, out):
    """Set out[channel, j : j + TILE, i : i + TILE] to the transpose of rows from i on, but `last` at most."""

    def codegen(context, builder, signature, arguments):
        source, channel, i, j, last, out = arguments
        kinds = signature.args
        lines = []
        for row in range(TILE):
            place = builder.add(i, i.type(row))
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            lines.append(
                load(builder, address(context, builder, kinds[0], source, channel, place, j), 8, TILE)
            )
        for column, line in enumerate(transposed(lines)):
            place = builder.add(j, j.type(column))
            store(line, address(context, builder, kinds[5], out, channel, place, i))
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, index, index, out), codegen


_transposed_tile: Any = intrinsic(_write_transposed_tile)


@kernel
def transpose_planes(source, out):
    """Lay planes down column by column, as `resize_rows` reads them.

    Args:
        source: (channels, rows, columns) uint8.
        out: (channels, columns, padded_rows(rows)) uint8; what is beyond the rows is left to chance.
    """
    channels, rows, columns = source.shape
    for c in range(channels):
        for i in range(0, out.shape[2], TILE):
            for first in range(0, columns if columns >= TILE else 0, TILE):
                _transposed_tile(source, c, i, min(first, columns - TILE), rows - 1, out)
        for j in range(columns if columns < TILE else 0):
            for i in range(rows):
                out[c, j, i] = source[c, i, j]


def _sum_weighted(builder, pointer, step, weight, count, lanes):
    """Return the sum of `count` groups of samples times their weights, with half a level added for rounding.

    The k-th group is the `lanes` bytes at pointer + k * step. `weight` points at the weights, 32 bits each.
    """
    half = splat(builder, ir.Constant(ir.IntType(32), 1 << (PRECISION_BITS - 1)), lanes)
    total = cgutils.alloca_once_value(builder, half.value)
    with cgutils.for_range(builder, count) as loop:
        factor = splat(builder, builder.load(builder.gep(weight, [loop.index])), lanes)
        place = builder.mul(loop.index, step)
        samples = load(builder, builder.gep(pointer, [place]), 8, lanes).widened(32, signed=False)
        builder.store((Lanes(builder, builder.load(total)) + samples * factor).value, total)
    return Lanes(builder, builder.load(total))


def _write_resized_column(typingctx, source, channel, start, i, weights, j, count, tile, slot):
    """Set tile[slot] to ROWS weighted sums of `count` samples from source[channel, start, i] on."""

    def codegen(context, builder, signature, arguments):
        source, channel, start, i, weights, j, count, tile, slot = arguments
        kinds = signature.args
        first = address(context, builder, kinds[0], source, channel, start, i)
        step = stride(context, builder, kinds[0], source, 1)
        weight = address(context, builder, kinds[4], weights, j)
        total = _sum_weighted(builder, first, step, weight, count, ROWS)
        level = (total >> PRECISION_BITS).clamp(0, 255).narrowed(8)
        store(level, address(context, builder, kinds[7], tile, slot))
        return context.get_dummy_value()

    index = types.intp
    arguments = (source, index, index, index, weights, index, index, tile, index)
    return types.void(*arguments), codegen


_resized_column: Any = intrinsic(_write_resized_column)


def _write_tile(typingctx, tile, out, channel, i, j):
    """Set out[channel, i : i + ROWS, j : j + TILE] to the transpose of a tile."""

    def codegen(context, builder, signature, arguments):
        tile, out, channel, i, j = arguments
        kinds = signature.args
        lines = [
            load(builder, address(context, builder, kinds[0], tile, slot), 8, ROWS) for slot in range(TILE)
        ]
        for first in range(0, ROWS, TILE):
            part = [line.pick(range(first, first + TILE)) for line in lines]
            for row, line in enumerate(transposed(part)):
                place = builder.add(i, i.type(first + row))
                store(line, address(context, builder, kinds[1], out, channel, place, j))
        return context.get_dummy_value()

    return types.void(tile, out, types.intp, types.intp, types.intp), codegen


_tile: Any = intrinsic(_write_tile)


@kernel
def resize_rows(source, origin, starts, counts, weights, out):
    """Resize along rows.

    Args:
        source: (channels, columns, rows) uint8, from `transpose_planes`; `origin` is the place of its first
            column in the whole picture.
        starts, counts, weights: from `bilinear_weights`; all samples they name have to be in `source`.
        out: (channels, rows, outputs) uint8, rows as in `source` and outputs rounded up to a multiple of
            `TILE`; what is beyond is left to chance.
    """
    tile = np.empty((TILE, ROWS), np.uint8)
    last = starts.shape[0] - 1
    # As many samples for every output, some of weight 0: so the loop over them never surprises the processor.
    most = counts.max()
    for c in range(out.shape[0]):
        for i in range(0, out.shape[1], ROWS):
            for first in range(0, out.shape[2], TILE):
                for slot in range(TILE):
                    j = min(first + slot, last)
                    start = starts[j] - origin
                    count = most if start + most <= source.shape[1] else counts[j]
                    _resized_column(source, c, start, i, weights, j, count, tile, slot)
                _tile(tile, out, c, i, first)


def _write_normalized(
    typingctx, source, channel, row, j, weights, i, count, gain, offset, out, c, y, x, pixels
):
    """Set out[c, y, x : x + pixels] to normalised sums of `count` rows from source[channel, row, j] on."""
    lanes = pixels.literal_value

    def codegen(context, builder, signature, arguments):
        source, channel, row, j, weights, i, count, gain, offset, out, c, y, x, _ = arguments
        kinds = signature.args
        first = address(context, builder, kinds[0], source, channel, row, j)
        step = stride(context, builder, kinds[0], source, 1)
        weight = address(context, builder, kinds[4], weights, i)
        total = _sum_weighted(builder, first, step, weight, count, lanes)
        levels = (total >> PRECISION_BITS).clamp(0, 255).as_floats()
        factor, shift = splat(builder, gain, lanes).value, splat(builder, offset, lanes).value
        normalized = Lanes(builder, builder.fadd(builder.fmul(levels, factor), shift))
        store(normalized, address(context, builder, kinds[9], out, c, y, x))
        return context.get_dummy_value()

    index = types.intp
    arguments = (source, index, index, index, weights, index, index, types.float32, types.float32)
    return types.void(*arguments, out, index, index, index, pixels), codegen


_normalized: Any = intrinsic(prefer_literal=True)(_write_normalized)


@kernel
def _normalized_sample(source, channel, start, j, weights, i, count, gain, offset):
    """Return one normalised sample, as `_normalized` computes it."""
    total = 1 << (PRECISION_BITS - 1)
    for k in range(count):
        total += weights[i, k] * source[channel, start + k, j]
    return np.float32(min(total >> PRECISION_BITS, 255)) * gain + offset


@kernel
def resize_columns(source, origin, starts, counts, weights, gain, offset, top, left, width, out):
    """Resize along columns, then normalise; one channel stands for all three of a gray picture.

    Args:
        source: (1 or 3, rows, columns) uint8, of which `width` columns count; `origin` is the place of its
            first row in the whole picture.
        starts, counts, weights: from `bilinear_weights`; all samples they name have to be in `source`.
        gain, offset: (3,) float32; a sample s of channel c becomes s * gain[c] + offset[c].
        top, left: where the first output goes in `out`.
        out: (3, height, width) float32; top + outputs <= height, left + `width` <= width.
    """
    wide = width - width % 32
    whole = width - width % 8
    for c in range(3):
        channel = c if source.shape[0] == 3 else 0
        for i in range(starts.shape[0]):
            row, count, y = starts[i] - origin, counts[i], top + i
            for j in range(0, wide, 32):
                _normalized(
                    source, channel, row, j, weights, i, count, gain[c], offset[c], out, c, y, left + j, 32
                )
            for j in range(wide, whole, 8):
                _normalized(
                    source, channel, row, j, weights, i, count, gain[c], offset[c], out, c, y, left + j, 8
                )
            for j in range(whole, width):
                sample = _normalized_sample(source, channel, row, j, weights, i, count, gain[c], offset[c])
                out[c, y, left + j] = sample
