"""Colour conversion of whole planes to RGB, as libjpeg (jdcolor.c) and Pillow do it.

Planes are (height, width) uint8 arrays of one size, `out` is (height, width, 3) uint8.
"""

import numpy as np

from dctafd_native.jit import kernel


@kernel
def _clamp(value):
    return np.uint8(min(max(value, 0), 255))


@kernel
def interleave(red, green, blue, out):
    """Put three planes side by side; a gray picture is one plane given three times."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j, 0] = red[i, j]
            out[i, j, 1] = green[i, j]
            out[i, j, 2] = blue[i, j]


@kernel
def _scaled(factor, chroma):
    """Return round(factor / 65536 * (chroma - 128))."""
    return np.int32(factor * np.int32(np.int32(chroma) - 128) + 32768) >> 16


@kernel
def _red(y, cr):
    return _clamp(np.int32(y) + _scaled(91881, cr))  # 1.402


@kernel
def _green(y, cb, cr):
    both = np.int32(-22554 * np.int32(np.int32(cb) - 128)) + np.int32(-46802 * np.int32(np.int32(cr) - 128))
    return _clamp(np.int32(y) + (np.int32(both + 32768) >> 16))  # -0.34414 and -0.71414


@kernel
def _blue(y, cb):
    return _clamp(np.int32(y) + _scaled(116130, cb))  # 1.772


@kernel
def ycc_to_rgb(y, cb, cr, out):
    """Convert full-range BT.601 YCbCr to RGB (ycc_rgb_convert)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j, 0] = _red(y[i, j], cr[i, j])
            out[i, j, 1] = _green(y[i, j], cb[i, j], cr[i, j])
            out[i, j, 2] = _blue(y[i, j], cb[i, j])


@kernel
def _multiply(a, b):
    """Return round(a * b / 255) of two samples."""
    product = np.int32(a) * np.int32(b) + 128
    return np.uint8((product + (product >> 8)) >> 8)


@kernel
def cmyk_to_rgb(cyan, magenta, yellow, black, out):
    """Convert CMYK that is stored inverted, as Adobe does and Pillow assumes, to RGB without profiles.

    With stored samples c' = 255 - c this is red = c' * k' / 255, rounded as Pillow's convert("RGB") does.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            light = np.int32(black[i, j])
            out[i, j, 0] = light - _multiply(255 - np.int32(cyan[i, j]), light)
            out[i, j, 1] = light - _multiply(255 - np.int32(magenta[i, j]), light)
            out[i, j, 2] = light - _multiply(255 - np.int32(yellow[i, j]), light)


@kernel
def ycck_to_rgb(y, cb, cr, black, out):
    """Convert YCCK to stored CMYK (ycck_cmyk_convert: the complement of YCbCr's RGB), then like CMYK."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            light = np.int32(black[i, j])
            out[i, j, 0] = light - _multiply(_red(y[i, j], cr[i, j]), light)
            out[i, j, 1] = light - _multiply(_green(y[i, j], cb[i, j], cr[i, j]), light)
            out[i, j, 2] = light - _multiply(_blue(y[i, j], cb[i, j]), light)
