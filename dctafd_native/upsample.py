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

import numpy as np

from dctafd_native.jit import kernel


@kernel
def _neighbor(position, count):
    """Return the next nearer sample of an output position that is upsampled by 2, kept inside 0..count-1."""
    sample = position >> 1
    return min(sample + 1, count - 1) if position & 1 else max(sample - 1, 0)


@kernel
def fancy_h2v1(samples, rows, columns, top, left, out):
    """Double the width by the triangle filter (jdsample.c, h2v1_fancy_upsample)."""
    line = np.empty(2 * columns, np.uint8)
    for i in range(out.shape[0]):
        near = samples[top + i]
        line[0] = near[0]
        line[2 * columns - 1] = near[columns - 1]
        for j in range(columns - 1):
            line[2 * j + 1] = (3 * near[j] + near[j + 1] + 2) >> 2
            line[2 * j + 2] = (3 * near[j + 1] + near[j] + 1) >> 2
        out[i] = line[left : left + out.shape[1]]


@kernel
def fancy_h1v2(samples, rows, columns, top, left, out):
    """Double the height by the triangle filter (jdsample.c, h1v2_fancy_upsample)."""
    for i in range(out.shape[0]):
        near = samples[(top + i) >> 1]
        far = samples[_neighbor(top + i, rows)]
        bias = 1 + ((top + i) & 1)
        for j in range(out.shape[1]):
            out[i, j] = (3 * near[left + j] + far[left + j] + bias) >> 2


@kernel
def fancy_h2v2(samples, rows, columns, top, left, out):
    """Double width and height by the triangle filter (jdsample.c, h2v2_fancy_upsample)."""
    sums = np.empty(columns, np.int16)
    line = np.empty(2 * columns, np.uint8)
    for i in range(out.shape[0]):
        near = samples[(top + i) >> 1]
        far = samples[_neighbor(top + i, rows)]
        for j in range(columns):
            sums[j] = 3 * near[j] + far[j]
        line[0] = (4 * sums[0] + 8) >> 4
        line[2 * columns - 1] = (4 * sums[columns - 1] + 7) >> 4
        for j in range(columns - 1):
            line[2 * j + 1] = (3 * sums[j] + sums[j + 1] + 7) >> 4
            line[2 * j + 2] = (3 * sums[j + 1] + sums[j] + 8) >> 4
        out[i] = line[left : left + out.shape[1]]


@kernel
def replicate(samples, across, down, top, left, out):
    """Repeat every sample `across` times in its row and `down` times in its column (int_upsample)."""
    for i in range(out.shape[0]):
        near = samples[(top + i) // down]
        for j in range(out.shape[1]):
            out[i, j] = near[(left + j) // across]


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
