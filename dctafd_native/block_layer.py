"""FDE-Net's first layer, from quantised coefficients, most of which are zero, and its sizes of them."""

from __future__ import annotations

import math

import numpy as np

from dctafd_native.jit import kernel

#: The magnitude of a coefficient c of which the share s survives is log(1 + MAGNITUDE_UNIT s |c|). One of
#: which nothing survives was kept all the same, so that s is at least LEAST_SURVIVAL.
MAGNITUDE_UNIT, LEAST_SURVIVAL = 0.125, 1e-9
#: A coefficient that is not zero also tells of its step, as KEPT_UNIT log(1 + surviving step).
KEPT_UNIT = 0.4

_SQRT_HALF_BITS = 0x3F3504F3  # of sqrt(1/2) as float32
_LOG_2 = np.float32(0.6931471805599453)


#: Channels with fewer coefficients that are not zero are added one coefficient at a time.
_FEW = 24


@kernel
def add_blocks(coefficients, factors, weights, kept_weights, magnitudes, kept, mantissas, sums, sizes):
    """Add up what each coefficient that is not zero gives to its cell, and how large they are.

    A coefficient of size m = log(1 + factor |coefficient|) adds m weights + kept_weights to its cell.

    Args:
        coefficients: (channels, cells) int16 or float32, of one photo.
        factors: (channels,) float32, positive.
        weights, kept_weights: (channels, width) float32.
        magnitudes, kept, mantissas: (cells,) float32, room to work in.
        sums: (width, cells) float32, to which is added.
        sizes: (2, channels) float32, filled with the mean size of each channel's coefficients and the share
            of those that are not zero.
    """
    channels, cells = coefficients.shape
    for channel in range(channels):
        values = coefficients[channel]
        found = 0
        for n in range(cells):
            found += values[n] != 0
        total = np.float32(0)
        if found:
            factor = factors[channel]
            for n in range(cells):
                magnitudes[n] = abs(np.float32(values[n])) * factor
            own, of_kept = weights[channel], kept_weights[channel]
            if found < _FEW:
                total = _add_few(magnitudes, own, of_kept, sums)
            else:
                total = _add_many(magnitudes, own, of_kept, kept, mantissas, sums)
        sizes[0, channel] = total / np.float32(cells)
        sizes[1, channel] = np.float32(found) / np.float32(cells)


@kernel
def _add_few(magnitudes, weights, kept_weights, sums):
    """Add a channel with few coefficients that are not zero; return the sum of their sizes."""
    total = np.float32(0)
    for n in range(len(magnitudes)):
        if magnitudes[n] != 0:
            size = np.float32(math.log1p(magnitudes[n]))
            total += size
            for k in range(len(weights)):
                sums[k, n] += size * weights[k] + kept_weights[k]
    return total


@kernel
def _add_many(magnitudes, weights, kept_weights, kept, mantissas, sums):
    """Add any channel; return the sum of the sizes of its coefficients."""
    cells = len(magnitudes)
    for n in range(cells):
        kept[n] = magnitudes[n] != 0
    _log_one_plus(magnitudes, mantissas)
    for k in range(len(weights)):
        row, weight, kept_weight = sums[k], weights[k], kept_weights[k]
        for n in range(cells):
            row[n] += magnitudes[n] * weight + kept[n] * kept_weight
    return _sum(magnitudes)


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
def _log_one_plus(values, mantissas):
    """Put log(1 + x) in the place of each x >= 0: positive wherever x is.

    The logarithm is taken of 1 + x = 2^e m, 1/sqrt(2) <= m < sqrt(2): by the series of atanh up to the ninth
    power, which is as exact as float32. What 1 + x rounds away of x is put back by its first derivative.
    """
    bits = mantissas.view(np.int32)
    for n in range(len(values)):
        mantissas[n] = np.float32(1) + values[n]
    for n in range(len(values)):
        x, sum_ = values[n], mantissas[n]
        exponent = (bits[n] - _SQRT_HALF_BITS) >> 23
        lost = (x - (sum_ - np.float32(1))) / sum_
        values[n] = np.float32(exponent) * _LOG_2 + lost
        bits[n] -= exponent << 23
    for n in range(len(values)):
        m = mantissas[n]
        t = (m - np.float32(1)) / (m + np.float32(1))
        t2 = t * t
        series = np.float32(1 / 9)
        series = series * t2 + np.float32(1 / 7)
        series = series * t2 + np.float32(1 / 5)
        series = series * t2 + np.float32(1 / 3)
        series = series * t2 + np.float32(1)
        values[n] += np.float32(2) * t * series
