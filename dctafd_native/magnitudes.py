"""Sizes of coefficients on a logarithmic scale, as FDE-Net reads them."""

from __future__ import annotations

import numpy as np

from dctafd_native.jit import kernel

#: The magnitude of a coefficient c of which the share s survives is log(1 + MAGNITUDE_UNIT s |c|). One of
#: which nothing survives was kept all the same, so that s is at least LEAST_SURVIVAL.
MAGNITUDE_UNIT, LEAST_SURVIVAL = 0.125, 1e-9

_SQRT_HALF_BITS = 0x3F3504F3  # of sqrt(1/2) as float32
_LOG_2 = np.float32(0.6931471805599453)


@kernel
def log_magnitudes(coefficients, factors, bits, out):
    """Fill log(1 + factor |coefficient|): positive wherever the coefficient is not 0.

    The logarithm is taken of 1 + x = 2^e m, 1/sqrt(2) <= m < sqrt(2): by the series of atanh up to the ninth
    power, which is as exact as float32. What 1 + x rounds away of x is put back by its first derivative.

    Args:
        coefficients: (photos, channels, cells) float32.
        factors: (photos, channels) float32, positive.
        bits: (cells,) int32, room to work in.
        out: (photos, channels, cells) float32.
    """
    mantissas = bits.view(np.float32)
    cells = coefficients.shape[2]
    for photo in range(coefficients.shape[0]):
        for channel in range(coefficients.shape[1]):
            factor = factors[photo, channel]
            values, filled = coefficients[photo, channel], out[photo, channel]
            for n in range(cells):
                x = abs(values[n]) * factor
                filled[n] = x
                mantissas[n] = np.float32(1) + x
            for n in range(cells):
                x, sum_ = filled[n], mantissas[n]
                exponent = (bits[n] - _SQRT_HALF_BITS) >> 23
                lost = (x - (sum_ - np.float32(1))) / sum_
                filled[n] = np.float32(exponent) * _LOG_2 + lost
                bits[n] -= exponent << 23
            for n in range(cells):
                m = mantissas[n]
                t = (m - np.float32(1)) / (m + np.float32(1))
                t2 = t * t
                series = np.float32(1 / 9)
                series = series * t2 + np.float32(1 / 7)
                series = series * t2 + np.float32(1 / 5)
                series = series * t2 + np.float32(1 / 3)
                series = series * t2 + np.float32(1)
                filled[n] += np.float32(2) * t * series
