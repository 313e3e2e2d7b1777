"""How much of a block's cosines survives the way from a component's samples to the classifier's pixels."""

from __future__ import annotations

import numpy as np

from dctafd_native.jit import kernel
from dctafd_native.resample import PRECISION_BITS


@kernel
def surviving_energy(
    starts,
    counts,
    weights,
    pixels,
    mirrored,
    block_size,
    ratio,
    interpolated,
    samples,
    cosines,
    response,
    out,
):
    """Average, over the outputs of one axis of a resize, what is left of each cosine's energy.

    The cosines of different blocks are independent, as quantisation errors are.

    Args:
        starts, counts, weights: the resize filter, from `resample.bilinear_weights`.
        pixels: pixels of the (reduced) picture along the axis.
        mirrored: whether the stored axis runs the other way than the filter's.
        block_size: samples a block is inverse-transformed to, 8, 4, 2 or 1.
        ratio: (numerator, denominator) of pixels a sample of the component.
        interpolated: whether samples become pixels by linear interpolation; else they are repeated.
        samples: samples of the component along the axis.
        cosines: (block_size, 8) float64, value of cosine u at sample n of a block.
        response: (n,) float64, room to work in: samples that one output reads, and two more.
        out: (8,) float64, filled: mean of the squared response to a cosine of unit coefficient.
    """
    across, along = ratio
    out[:] = 0.0
    amplitude = np.empty(8, np.float64)
    for j in range(starts.shape[0]):
        low = starts[j]
        high = starts[j] + counts[j] - 1
        if mirrored:
            low, high = pixels - 1 - high, pixels - 1 - low
        first = max(((2 * low + 1) * along - across) // (2 * across), 0)
        response[:] = 0.0
        last = first
        for k in range(counts[j]):
            pixel = starts[j] + k
            if mirrored:
                pixel = pixels - 1 - pixel
            weight = weights[j, k] / (1 << PRECISION_BITS)
            if interpolated and across != along:
                # Samples and pixels cover the picture alike, so that centres are half a cell in.
                place = (pixel + 0.5) * along / across - 0.5
                below = int(np.floor(place))
                share = place - below
                near, far = min(max(below, 0), samples - 1), min(max(below + 1, 0), samples - 1)
                response[near - first] += weight * (1.0 - share)
                response[far - first] += weight * share
                last = max(last, far)
            else:
                near = min(pixel * along // across, samples - 1)
                response[near - first] += weight
                last = max(last, near)
        block = first // block_size
        amplitude[:] = 0.0
        for sample in range(first, last + 1):
            if sample // block_size != block:
                for u in range(8):
                    out[u] += amplitude[u] * amplitude[u]
                    amplitude[u] = 0.0
                block = sample // block_size
            for u in range(8):
                amplitude[u] += response[sample - first] * cosines[sample - block * block_size, u]
        for u in range(8):
            out[u] += amplitude[u] * amplitude[u]
    for u in range(8):
        out[u] /= starts.shape[0]
