"""Colour conversion kernels against plain NumPy and Pillow."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dctafd_native import color


def random_planes(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(count)
    return list(rng.integers(0, 256, (count, 61, 83), dtype=np.uint8))


def ycc_reference(y: NDArray[np.uint8], cb: NDArray[np.uint8], cr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The integer formulas of jdcolor.c (16 fractional bits)."""
    luma, blue, red = (plane.astype(np.int64) for plane in (y, cb, cr))
    blue, red = blue - 128, red - 128
    rgb = [
        luma + ((91881 * red + 32768) >> 16),
        luma + ((-22554 * blue - 46802 * red + 32768) >> 16),
        luma + ((116130 * blue + 32768) >> 16),
    ]
    return np.clip(np.stack(rgb, axis=-1), 0, 255).astype(np.uint8)


def all_pairs() -> list[NDArray[np.uint8]]:
    """Every Cb with every Cr, at a luma that changes along."""
    cb, cr = np.mgrid[0:256, 0:256].astype(np.uint8)
    return [(3 * cb.astype(int) + 5 * cr).astype(np.uint8), cb, cr]


@pytest.mark.parametrize("width", [256, 250, 7])
def test_ycc_to_rgb(width: int) -> None:
    planes = [np.ascontiguousarray(plane[:, :width]) for plane in all_pairs()]
    out = np.empty((256, width, 3), np.uint8)
    color.ycc_to_rgb(*planes, out)
    assert np.array_equal(out, ycc_reference(*planes))
    out = np.empty((3, 256, width), np.uint8)
    color.ycc_to_planes(*planes, out)
    assert np.array_equal(out, np.moveaxis(ycc_reference(*planes), -1, 0))


def test_interleave() -> None:
    planes = random_planes(3)
    out = np.empty((61, 83, 3), np.uint8)
    color.interleave(*planes, out)
    assert np.array_equal(out, np.stack(planes, axis=-1))


def test_cmyk_to_rgb_is_pillows_conversion_of_inverted_samples() -> None:
    planes = random_planes(4)
    out = np.empty((61, 83, 3), np.uint8)
    color.cmyk_to_rgb(*planes, out)
    image = Image.fromarray(255 - np.stack(planes, axis=-1), "CMYK").convert("RGB")
    assert np.array_equal(out, np.asarray(image))


def test_ycck_to_rgb_complements_first() -> None:
    planes = random_planes(4)
    out = np.empty((61, 83, 3), np.uint8)
    color.ycck_to_rgb(*planes, out)
    stored = 255 - ycc_reference(*planes[:3])
    expected = np.empty_like(out)
    color.cmyk_to_rgb(*np.ascontiguousarray(np.moveaxis(stored, -1, 0)), planes[3], expected)
    assert np.array_equal(out, expected)
