"""FDE-Net's first layer, from quantised coefficients, most of which are zero, and its sizes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from dctafd_native.block_masks import lowest_bit, nonzero_mask
from dctafd_native.jit import kernel
from dctafd_native.lanes import address, splat

#: The magnitude of a coefficient c of which the share s survives is log(1 + MAGNITUDE_UNIT s |c|). One of
#: which nothing survives was kept all the same, so that s is at least LEAST_SURVIVAL.
MAGNITUDE_UNIT, LEAST_SURVIVAL = 0.125, 1e-9
#: A coefficient that is not zero also tells of its step, as KEPT_UNIT log(1 + surviving step).
KEPT_UNIT = 0.4

_SQRT_HALF_BITS = 0x3F3504F3  # of sqrt(1/2) as float32
_LOG_2 = np.float32(0.6931471805599453)


#: Lanes that are handled together; room for cells is by so many longer.
LANES = 16


@kernel
def add_blocks(coefficients, factors, weights, kept_weights, places, magnitudes, mantissas, sums, sizes):
    """Add up what each coefficient that is not zero gives to its cell, and how large they are.

    A coefficient of size m = log(1 + factor |coefficient|) adds m weights + kept_weights to its cell.

    Args:
        coefficients: (channels, cells) int16 or float32, of one photo.
        factors: (channels,) float32, positive.
        weights, kept_weights: (channels, width) float32.
        places: (cells + LANES,) int32, room to work in.
        magnitudes, mantissas: (cells + LANES,) float32, room to work in.
        sums: (cells, width) float32, to which is added.
        sizes: (2, channels) float32, filled with the mean size of each channel's coefficients and the share
            of those that are not zero.
    """
    channels, cells = coefficients.shape
    for channel in range(channels):
        found = find_nonzero(coefficients, channel, places)
        total = np.float32(0)
        if found:
            filled = (found + LANES - 1) // LANES * LANES
            magnitudes[found:filled] = 0
            for i in range(found):
                magnitudes[i] = abs(np.float32(coefficients[channel, places[i]])) * factors[channel]
            _log_one_plus(magnitudes, mantissas, filled)
            total = _sum(magnitudes[:found])
            if weights.shape[1] % LANES == 0:
                _add_lanes(magnitudes, places, found, weights[channel], kept_weights[channel], sums)
            else:
                _add(magnitudes, places, found, weights[channel], kept_weights[channel], sums)
        sizes[0, channel] = total / np.float32(cells)
        sizes[1, channel] = np.float32(found) / np.float32(cells)


@kernel
def find_nonzero(values, row, places):
    """Put the columns of a row's values that are not zero into `places`; return how many there are."""
    columns = values.shape[1]
    found = 0
    whole = columns // 64 * 64
    for start in range(0, whole, 64):
        mask = nonzero_mask(values, row, start)
        while mask:
            places[found] = start + np.int64(lowest_bit(mask))
            mask &= mask - np.uint64(1)
            found += 1
    for column in range(whole, columns):
        places[found] = column
        found += values[row, column] != 0
    return found


def _write_added_scaled(typingctx, sums, row, first, size, weights, offsets):
    """Add size weights + offsets to `LANES` sums of a row from `first` on."""

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), LANES)
        sums, row, first, size, weights, offsets = arguments
        kinds = signature.args
        places = [
            address(context, builder, kinds[0], sums, row, first),
            address(context, builder, kinds[4], weights, first),
            address(context, builder, kinds[5], offsets, first),
        ]
        pointers = [builder.bitcast(place, vector.as_pointer()) for place in places]
        before, weight, offset = (builder.load(pointer, align=1, typ=vector) for pointer in pointers)
        factor = splat(builder, size, LANES).value
        change = builder.fadd(builder.fmul(factor, weight, flags=("contract",)), offset, flags=("contract",))
        builder.store(builder.fadd(before, change), pointers[0], align=1)
        return context.get_dummy_value()

    return types.none(sums, types.int64, types.int64, types.float32, weights, offsets), codegen


_add_scaled: Any = intrinsic(_write_added_scaled)


@kernel
def _add_lanes(sizes, places, count, weights, kept_weights, sums):
    """Add the first coefficients to their cells, whose width is a multiple of `LANES`."""
    for first in range(0, len(weights), LANES):
        for i in range(count):
            size, place = sizes[i], places[i]
            _add_scaled(sums, np.int64(place), first, size, weights, kept_weights)


@kernel
def _add(sizes, places, count, weights, kept_weights, sums):
    """Add the first coefficients to their cells."""
    for i in range(count):
        for k in range(len(weights)):
            sums[places[i], k] += sizes[i] * weights[k] + kept_weights[k]


@kernel
def _sum(values):
    """Return the sum; eight at a time, as one addition waits for the other."""
    a = b = c = d = e = f = g = h = np.float32(0)
    whole = len(values) // 8 * 8
    for n in range(0, whole, 8):
        a += values[n]
        b += values[n + 1]
        c += values[n + 2]
        d += values[n + 3]
        e += values[n + 4]
        f += values[n + 5]
        g += values[n + 6]
        h += values[n + 7]
    for n in range(whole, len(values)):
        a += values[n]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@kernel
def _log_one_plus(values, mantissas, count):
    """Put log(1 + x) in the place of each of the first x >= 0: positive wherever x is.

    The logarithm is taken of 1 + x = 2^e m, 1/sqrt(2) <= m < sqrt(2): by the series of atanh up to the ninth
    power, which is as exact as float32. What 1 + x rounds away of x is put back by its first derivative.
    """
    bits = mantissas.view(np.int32)
    for n in range(count):
        mantissas[n] = np.float32(1) + values[n]
    for n in range(count):
        x, sum_ = values[n], mantissas[n]
        exponent = (bits[n] - _SQRT_HALF_BITS) >> 23
        lost = (x - (sum_ - np.float32(1))) / sum_
        values[n] = np.float32(exponent) * _LOG_2 + lost
        bits[n] -= exponent << 23
    for n in range(count):
        m = mantissas[n]
        t = (m - np.float32(1)) / (m + np.float32(1))
        t2 = t * t
        series = np.float32(1 / 9)
        series = series * t2 + np.float32(1 / 7)
        series = series * t2 + np.float32(1 / 5)
        series = series * t2 + np.float32(1 / 3)
        series = series * t2 + np.float32(1)
        values[n] += np.float32(2) * t * series
