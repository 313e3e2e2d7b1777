"""Compress clean photos on the fly, in the ways in which photos are compressed in the world.

One `Degradation` says everything that happens to a view of a photo; `sample_degradation` draws one. The same
generator state gives the same bytes (for one version of Pillow).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dctafd.inputs.pictures import Subsampling, decode_jpeg, encode_jpeg

LARGE_SCALE = 3.0  # stored pixels per classifier pixel above which next to nothing drifts
MOST_NOISE = 8.0  # standard deviation in levels
_NOISE_SIDE = 256
IMAGENET_C_QUALITY = 85  # every file of ImageNet-C was saved again at this quality


@dataclass(frozen=True, slots=True)
class Degradation:
    """How a view of a photo is compressed before a classifier sees it.

    Attributes:
        quality: of the compression that counts, the first where there are two.
        subsampling: of that compression.
        shift: (rows, columns) of the block grid's offset from the classifier's crop, 0..7.
        scale: stored pixels per classifier pixel; where it is not 1, the photo is resized after compression.
        second_quality: quality of a second compression of the decoded photo, None for none.
        second_shift: (rows, columns) cropped off before the second compression, (0, 0) for an aligned grid.
        noise: standard deviation of a sensor's noise, in levels, that the photo has before it is compressed.
        noise_seed: which noise.
    """

    quality: int
    subsampling: Subsampling = "4:2:0"
    shift: tuple[int, int] = (0, 0)
    scale: float = 1.0
    second_quality: int | None = None
    second_shift: tuple[int, int] = (0, 0)
    noise: float = 0.0
    noise_seed: int = 0


@dataclass(frozen=True, slots=True)
class DegradationRange:
    """What `sample_degradation` draws from; shares are probabilities.

    Attributes:
        lowest, highest: qualities, drawn log-uniformly: half of them lie below their geometric mean.
        clean: share of photos that are stored at quality 98 to 100, 4:4:4, and not compressed again.
        shifted: share whose block grid is not that of the crop.
        resized: share that is resized after compression, by a factor within `scales`.
        large: share of those whose factor is above `LARGE_SCALE`, as of photos straight from a camera; these
            have noise. Factors are drawn log-uniformly.
        imagenet_c: share compressed again at quality 85 on the same grid, as ImageNet-C's files are.
        twice: share compressed again at any quality, half of them on another grid.
        subsamplings: kinds of chroma subsampling and their shares.
    """

    lowest: int = 5
    highest: int = 100
    clean: float = 0.05
    shifted: float = 0.3
    resized: float = 0.35
    large: float = 0.2
    scales: tuple[float, float] = (0.5, 16.0)
    imagenet_c: float = 0.15
    twice: float = 0.1
    subsamplings: dict[Subsampling, float] = field(
        default_factory=lambda: {"4:2:0": 0.7, "4:2:2": 0.1, "4:4:4": 0.2}
    )


def sample_degradation(rng: np.random.Generator, drawn_from: DegradationRange) -> Degradation:
    """Draw a degradation."""
    if rng.random() < drawn_from.clean:
        return Degradation(int(rng.integers(98, 101)), "4:4:4")
    kinds = list(drawn_from.subsamplings)
    shares = np.array([drawn_from.subsamplings[kind] for kind in kinds])
    subsampling = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
    shift, scale, noise = (0, 0), 1.0, 0.0
    geometry = rng.random()
    if geometry < drawn_from.shifted:
        shift = _sample_shift(rng)
    elif geometry < drawn_from.shifted + drawn_from.resized:
        scale = _sample_scale(rng, drawn_from)
        noise = rng.uniform(0, MOST_NOISE) if scale > LARGE_SCALE else 0.0
    second_quality, second_shift = None, (0, 0)
    again = rng.random()
    if again < drawn_from.imagenet_c:
        second_quality = IMAGENET_C_QUALITY
    elif again < drawn_from.imagenet_c + drawn_from.twice:
        second_quality = _sample_quality(rng, drawn_from)
        second_shift = _sample_shift(rng) if rng.random() < 0.5 else (0, 0)
    quality = _sample_quality(rng, drawn_from)
    return Degradation(
        quality,
        subsampling,
        shift,
        scale,
        second_quality,
        second_shift,
        noise,
        int(rng.integers(2**31)) if noise else 0,
    )


def _sample_scale(rng: np.random.Generator, drawn_from: DegradationRange) -> float:
    low, high = drawn_from.scales
    if low < LARGE_SCALE < high:
        low, high = (LARGE_SCALE, high) if rng.random() < drawn_from.large else (low, LARGE_SCALE)
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _sample_quality(rng: np.random.Generator, drawn_from: DegradationRange) -> int:
    low, high = math.log(drawn_from.lowest), math.log(drawn_from.highest + 1)
    return min(int(math.exp(rng.uniform(low, high))), drawn_from.highest)


def _sample_shift(rng: np.random.Generator) -> tuple[int, int]:
    rows, columns = rng.integers(0, 8, 2)
    return int(rows), int(columns)


def view_size(degradation: Degradation, crop: int) -> tuple[int, int]:
    """Return (height, width) of the view of a photo from which `degrade` makes a `crop` x `crop` input.

    A view that is not resized afterwards is larger than the crop by the shift on every side, so that its
    centre crop has the wanted offset from the block grid.
    """
    if degradation.scale != 1.0:
        height = width = max(8, round(crop * degradation.scale))
    else:
        height, width = (crop + 2 * offset for offset in degradation.shift)
    rows, columns = degradation.second_shift
    return height + rows, width + columns


def degrade(view: NDArray[np.uint8], degradation: Degradation) -> tuple[bytes, NDArray[np.uint8]]:
    """Compress a view once or twice.

    Args:
        view: (height, width, 3), RGB, of `view_size`.
        degradation: what is done to it.

    Returns:
        The JPEG file's bytes, and the uncompressed pixels that it shows, (height, width, 3).
    """
    taken = with_noise(view, degradation.noise, degradation.noise_seed) if degradation.noise else view
    stored = encode_jpeg(taken, degradation.quality, degradation.subsampling)
    if degradation.second_quality is None:
        return stored, view
    rows, columns = degradation.second_shift
    decoded = decode_jpeg(stored)[rows:, columns:]
    return encode_jpeg(decoded, degradation.second_quality), view[rows:, columns:]


def with_noise(view: NDArray[np.uint8], deviation: float, seed: int) -> NDArray[np.uint8]:
    """Add a sensor's noise, independent from pixel to pixel but for a pattern that comes again.

    Args:
        view: (height, width, 3).
        deviation: standard deviation in levels.
        seed: which noise.
    """
    rng = np.random.default_rng(seed)
    pattern = rng.normal(0, deviation, (_NOISE_SIDE, _NOISE_SIDE, 3)).astype(np.int16)
    repeats = [-(-side // _NOISE_SIDE) for side in view.shape[:2]]
    noise = np.tile(pattern, (*repeats, 1))[: view.shape[0], : view.shape[1]]
    return np.clip(view + noise, 0, 255).astype(np.uint8)
