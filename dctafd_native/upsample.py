"""Upsampling of one component's samples to the size of the picture (T.81 A.1.1; libjpeg's jdsample.c).

Every kernel takes a window of the component's samples and fills a part of the upsampled window:

    samples: (at least rows, at least columns) uint8, the window; where the component goes on beyond it, the
        caller includes the neighbours that the kernel reads.
    rows, columns: samples of the window that belong to the component (blocks are padded); the last ones
        stand in for those beyond the edge, as libjpeg's context rows do.
    top, left: place of out[0, 0], in upsampled samples from the window's first sample.
    out: (height, width) uint8; top + height and left + width may not exceed the upsampled window.

"Fancy" upsampling is libjpeg's triangle filter: 3/4 of the nearer sample and 1/4 of the next nearer, each
way, rounded alternately up and down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dctafd_native.jit import kernel
from dctafd_native.lanes import address, load, store

GROUP = 16  # samples that are doubled at once


@kernel
def _neighbor(position, count):
    """Return the next nearer sample of an output position that is upsampled by 2, kept inside 0..count-1."""
    sample = position >> 1
    return min(sample + 1, count - 1) if position & 1 else max(sample - 1, 0)


def _write_doubled(typingctx, sums, j, line, bits, even_bias, odd_bias):
    """Make 2 * GROUP samples of `line`, from 2 * j on, of GROUP sums from sums[j + 1] on.

    Each is (3 * nearer + next nearer + bias) >> bits; bits and biases are literals. sums: int16, with a
    neighbour before the first and after the last; line: uint8.
    """

    def codegen(context, builder, signature, arguments):
        sums, j, line = arguments[:3]
        before, here, after = (
            load(
                builder,
                address(context, builder, signature.args[0], sums, builder.add(j, j.type(k))),
                16,
                GROUP,
            )
            for k in range(3)
        )
        shift = bits.literal_value
        even = (here * 3 + before + even_bias.literal_value) >> shift
        odd = (here * 3 + after + odd_bias.literal_value) >> shift
        pairs = [lane // 2 + GROUP * (lane % 2) for lane in range(2 * GROUP)]
        place = builder.add(j, j)
        store(even.pick(pairs, odd).narrowed(8), address(context, builder, signature.args[2], line, place))
        return context.get_dummy_value()

    return types.void(sums, types.intp, line, bits, even_bias, odd_bias), codegen


_doubled: Any = intrinsic(prefer_literal=True)(_write_doubled)


def _write_row_copy(typingctx, line, left, out, i, count):
    """Set out[i] to `count` samples of `line` from `left` on."""

    def codegen(context, builder, signature, arguments):
        line, left, out, i, count = arguments
        source = address(context, builder, signature.args[0], line, left)
        target = address(context, builder, signature.args[2], out, i)
        cgutils.raw_memcpy(builder, target, source, count, 1)
        return context.get_dummy_value()

    return types.void(line, types.intp, out, types.intp, types.intp), codegen


_copy_row: Any = intrinsic(_write_row_copy)


@kernel
def _padded(columns):
    """Return `columns` rounded up to whole groups."""
    return (columns + GROUP - 1) // GROUP * GROUP


@kernel
def fancy_h2v1(samples, rows, columns, top, left, out):
    """Double the width by the triangle filter (jdsample.c, h2v1_fancy_upsample)."""
    sums = np.zeros(_padded(columns) + 2, np.int16)
    line = np.empty(2 * _padded(columns), np.uint8)
    for i in range(out.shape[0]):
        near = samples[top + i]
        for j in range(columns):
            sums[j + 1] = near[j]
        sums[0] = sums[1]
        sums[columns + 1] = sums[columns]
        for j in range(0, columns, GROUP):
            _doubled(sums, j, line, 2, 1, 2)
        _copy_row(line, left, out, i, out.shape[1])


@kernel
def fancy_h1v2(samples, rows, columns, top, left, out):
    """Double the height by the triangle filter (jdsample.c, h1v2_fancy_upsample)."""
    line = np.empty(columns, np.uint8)
    for i in range(out.shape[0]):
        near = samples[(top + i) >> 1]
        far = samples[_neighbor(top + i, rows)]
        bias = 1 + ((top + i) & 1)
        for j in range(columns):
            line[j] = np.uint16(3 * near[j] + far[j] + bias) >> 2
        _copy_row(line, left, out, i, out.shape[1])


@kernel
def fancy_h2v2(samples, rows, columns, top, left, out):
    """Double width and height by the triangle filter (jdsample.c, h2v2_fancy_upsample)."""
    sums = np.zeros(_padded(columns) + 2, np.int16)
    line = np.empty(2 * _padded(columns), np.uint8)
    for i in range(out.shape[0]):
        near = samples[(top + i) >> 1]
        far = samples[_neighbor(top + i, rows)]
        for j in range(columns):
            sums[j + 1] = 3 * near[j] + far[j]
        sums[0] = sums[1]
        sums[columns + 1] = sums[columns]
        for j in range(0, columns, GROUP):
            _doubled(sums, j, line, 4, 8, 7)
        _copy_row(line, left, out, i, out.shape[1])


@kernel
def replicate(samples, across, down, top, left, out):
    """Repeat every sample `across` times in its row and `down` times in its column (int_upsample)."""
    line = np.empty(samples.shape[1] * across, np.uint8)
    built = -1
    for i in range(out.shape[0]):
        row = (top + i) // down
        if row != built:
            for j in range(samples.shape[1]):
                for k in range(across):
                    line[j * across + k] = samples[row, j]
            built = row
        _copy_row(line, left, out, i, out.shape[1])


@kernel
def _between(position, numerator, denominator, count):
    """Return two samples and the weight of the second, of 2 * numerator, at an upsampled position.

    Upsampled samples lie numerator to denominator, both kinds centred in their cells.
    """
    place = (2 * position + 1) * denominator - numerator
    sample = place // (2 * numerator)
    first = min(max(sample, 0), count - 1)
    second = min(max(sample + 1, 0), count - 1)
    return first, second, place - sample * 2 * numerator


@kernel
def linear(samples, rows, columns, across, down, first_row, first_column, top, left, out):
    """Interpolate linearly by the fractions `across` and `down`, each (numerator, denominator).

    libjpeg refuses such files, so this is our own choice: samples centred in their cells, rounded half up.
    Here `top` and `left` count from the component's first sample, and so does `first_row`, `first_column`,
    the place of samples[0, 0].
    """
    whole = 4 * across[0] * down[0]
    for i in range(out.shape[0]):
        upper, lower, below = _between(top + i, down[0], down[1], first_row + rows)
        above = 2 * down[0] - below
        upper = max(upper - first_row, 0)
        lower = max(lower - first_row, 0)
        for j in range(out.shape[1]):
            near, far, after = _between(left + j, across[0], across[1], first_column + columns)
            before = 2 * across[0] - after
            near = max(near - first_column, 0)
            far = max(far - first_column, 0)
            total = above * (before * samples[upper, near] + after * samples[upper, far])
            total += below * (before * samples[lower, near] + after * samples[lower, far])
            out[i, j] = (total + whole // 2) // whole


FANCY = {"fancy_h2v1": fancy_h2v1, "fancy_h1v2": fancy_h1v2, "fancy_h2v2": fancy_h2v2}
