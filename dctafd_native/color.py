"""Colour conversion of whole planes to RGB, as libjpeg (jdcolor.c) and Pillow do it.

Planes are (height, width) uint8 arrays of one size. `out` is (height, width, 3) uint8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from dctafd_native.jit import kernel
from dctafd_native.lanes import Lanes, address, load, store

GROUP = 16  # pixels that are converted at once


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


def _ycc_lanes(y: Lanes, cb: Lanes, cr: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Return R, G and B of full-range BT.601 YCbCr, all in lanes of 32 bits."""
    cb, cr = cb - 128, cr - 128
    red = y + ((cr * 91881 + 32768) >> 16)
    green = y + ((cb * -22554 + cr * -46802 + 32768) >> 16)
    blue = y + ((cb * 116130 + 32768) >> 16)
    return red.clamp(0, 255), green.clamp(0, 255), blue.clamp(0, 255)


def _converted_group(context, builder, kinds, planes, i, j):
    """Return R, G and B of the pixels [i, j : j + GROUP] of three planes."""
    lanes = [
        load(builder, address(context, builder, kind, array, i, j), 8, GROUP).widened(32, signed=False)
        for kind, array in zip(kinds, planes, strict=True)
    ]
    return _ycc_lanes(*lanes)


def _write_ycc_pixels(typingctx, y, cb, cr, i, j, out):
    """Set out[i, j : j + GROUP] to pixels."""
    stored = [lane for lane in range(4 * GROUP) if lane % 4 < 3]

    def codegen(context, builder, signature, arguments):
        *planes, i, j, out = arguments
        red, green, blue = _converted_group(context, builder, signature.args[:3], planes, i, j)
        pixels = (red | (green << 8) | (blue << 16)).as_bytes().pick(stored)
        store(pixels, address(context, builder, signature.args[5], out, i, j))
        return context.get_dummy_value()

    return types.void(y, cb, cr, types.intp, types.intp, out), codegen


_ycc_pixels: Any = intrinsic(_write_ycc_pixels)


def _write_ycc_samples(typingctx, y, cb, cr, i, j, out):
    """Set out[:, i, j : j + GROUP] to samples."""

    def codegen(context, builder, signature, arguments):
        *planes, i, j, out = arguments
        converted = _converted_group(context, builder, signature.args[:3], planes, i, j)
        for channel, samples in enumerate(converted):
            store(samples.narrowed(8), address(context, builder, signature.args[5], out, channel, i, j))
        return context.get_dummy_value()

    return types.void(y, cb, cr, types.intp, types.intp, out), codegen


_ycc_samples: Any = intrinsic(_write_ycc_samples)


@kernel
def ycc_to_rgb(y, cb, cr, out):
    """Convert full-range BT.601 YCbCr to RGB (ycc_rgb_convert)."""
    whole = out.shape[1] - out.shape[1] % GROUP
    for i in range(out.shape[0]):
        for j in range(0, whole, GROUP):
            _ycc_pixels(y, cb, cr, i, j, out)
        for j in range(whole, out.shape[1]):
            out[i, j, 0] = _red(y[i, j], cr[i, j])
            out[i, j, 1] = _green(y[i, j], cb[i, j], cr[i, j])
            out[i, j, 2] = _blue(y[i, j], cb[i, j])


@kernel
def ycc_to_planes(y, cb, cr, out):
    """Convert like `ycc_to_rgb`, to planes: out is (3, height, width) uint8."""
    whole = out.shape[2] - out.shape[2] % GROUP
    for i in range(out.shape[1]):
        for j in range(0, whole, GROUP):
            _ycc_samples(y, cb, cr, i, j, out)
        for j in range(whole, out.shape[2]):
            out[0, i, j] = _red(y[i, j], cr[i, j])
            out[1, i, j] = _green(y[i, j], cb[i, j], cr[i, j])
            out[2, i, j] = _blue(y[i, j], cb[i, j])


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
