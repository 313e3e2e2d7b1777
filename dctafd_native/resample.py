"""Resizing by Pillow's antialiased bilinear filter, in its 8-bit fixed-point arithmetic (Resample.c).

First along rows, rounded to uint8, then along columns; weights have 22 fractional bits. Output sample j
is the sum of weights[j, k] * source[starts[j] + k], for k below counts[j]. (Pillow 13 resizes columns first
where a
picture loses more than twice as many rows as columns; the results differ by 1 level at most.)
"""

import numpy as np

from dctafd_native.jit import kernel

PRECISION_BITS = 22


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


@kernel
def resize_rows(source, origin, starts, counts, weights, out):
    """Resize along rows.

    Args:
        source: (rows, columns, 3) uint8; `origin` is the place of its first column in the whole picture.
        starts, counts, weights: from `bilinear_weights`; all samples they name have to be in `source`.
        out: (rows, outputs, 3) uint8.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            start = starts[j] - origin
            red = green = blue = np.int32(1 << (PRECISION_BITS - 1))
            for k in range(counts[j]):
                weight = weights[j, k]
                red = np.int32(red + np.int32(weight * np.int32(source[i, start + k, 0])))
                green = np.int32(green + np.int32(weight * np.int32(source[i, start + k, 1])))
                blue = np.int32(blue + np.int32(weight * np.int32(source[i, start + k, 2])))
            out[i, j, 0] = min(red >> PRECISION_BITS, 255)
            out[i, j, 1] = min(green >> PRECISION_BITS, 255)
            out[i, j, 2] = min(blue >> PRECISION_BITS, 255)


@kernel
def resize_columns(source, origin, starts, counts, weights, gain, offset, top, left, out):
    """Resize along columns, then normalise and separate the channels.

    Args:
        source: (rows, columns, 3) uint8; `origin` is the place of its first row in the whole picture.
        starts, counts, weights: from `bilinear_weights`; all samples they name have to be in `source`.
        gain, offset: (3,) float32; a sample s of channel c becomes s * gain[c] + offset[c].
        top, left: where the first output goes in `out`.
        out: (3, height, width) float32; top + outputs <= height, left + columns <= width.
    """
    width = source.shape[1]
    line = np.empty(3 * width, np.int32)
    flat = source.reshape(source.shape[0], 3 * width)
    for i in range(starts.shape[0]):
        line[:] = 1 << (PRECISION_BITS - 1)
        for k in range(counts[i]):
            weight = weights[i, k]
            row = flat[starts[i] - origin + k]
            for j in range(3 * width):
                line[j] += np.int32(weight * np.int32(row[j]))
        for c in range(3):
            row_out = out[c, top + i]
            for j in range(width):
                row_out[left + j] = (
                    np.float32(min(line[3 * j + c] >> PRECISION_BITS, 255)) * gain[c] + offset[c]
                )
