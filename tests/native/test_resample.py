"""Resize kernels against Pillow and plain NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dctafd_native import resample

Tables = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def tables(box: tuple[float, float], size: int, out_size: int, first: int = 0, count: int = -1) -> Tables:
    count = out_size if count < 0 else count
    starts, counts = np.empty((2, count), np.int32)
    weights = np.empty((count, resample.weight_count(box[1] - box[0], out_size)), np.int32)
    resample.bilinear_weights(*box, size, out_size, first, starts, counts, weights)
    return starts, counts, weights


def dense(filter_tables: Tables, size: int) -> NDArray[np.int64]:
    """Return the (outputs, size) matrix of the filter."""
    matrix = np.zeros((len(filter_tables[0]), size), np.int64)
    for row, start, count, weights in zip(matrix, *filter_tables, strict=True):
        row[start : start + count] = weights[:count]
    return matrix


def with_fourth_channel(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 77)], axis=-1)


def resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float32]:
    x = tables((0.0, float(pixels.shape[1])), pixels.shape[1], width)
    y = tables((0.0, float(pixels.shape[0])), pixels.shape[0], height)
    rows = np.empty((pixels.shape[0], width, 4), np.uint8)
    resample.resize_rows(with_fourth_channel(pixels), 0, *x, rows)
    out = np.empty((3, height, width), np.float32)
    resample.resize_columns(rows, 0, *y, np.ones(3, np.float32), np.zeros(3, np.float32), 0, 0, out)
    return np.moveaxis(out, 0, -1)


@pytest.mark.parametrize(
    ("before", "after"),
    [((50, 37), (31, 23)), ((1, 1), (5, 4)), ((97, 64), (12, 9)), ((33, 20), (33, 15)), ((20, 30), (55, 71))],
)
def test_equals_pillow(before: tuple[int, int], after: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (before[1], before[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    rows_first = image.resize((after[0], before[1]), Image.Resampling.BILINEAR)
    expected = rows_first.resize(after, Image.Resampling.BILINEAR)
    assert np.array_equal(resized(pixels, *after), np.asarray(expected))


@pytest.mark.parametrize("box", [(0.0, 61.0), (0.5, 61.0), (0.0, 60.125), (0.875, 61.0)])
@pytest.mark.parametrize("out_size", [7, 40, 100])
def test_weights_are_those_of_pillows_box(box: tuple[float, float], out_size: int) -> None:
    """A picture of single white columns shows every weight, rounded to 8 bits."""
    columns = np.eye(61, dtype=np.uint8) * 255
    image = Image.fromarray(columns).resize(
        (out_size, 61), Image.Resampling.BILINEAR, (box[0], 0, box[1], 61)
    )
    matrix = dense(tables(box, 61, out_size), 61)
    assert np.array_equal((matrix.T * 255 + (1 << 21)) >> 22, np.asarray(image))


def test_weights_of_some_outputs_are_a_part_of_all() -> None:
    everything = tables((0.0, 100.0), 100, 43)
    part = tables((0.0, 100.0), 100, 43, 11, 20)
    assert np.array_equal(dense(part, 100), dense(everything, 100)[11:31])


def test_rows_of_a_window() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 100, 4), dtype=np.uint8)
    part = tables((0.0, 100.0), 100, 43, 11, 20)
    origin = int(part[0][0])
    out = np.empty((9, 20, 4), np.uint8)
    resample.resize_rows(np.ascontiguousarray(pixels[:, origin:80]), origin, *part, out)
    sums = np.einsum("jx,ixc->ijc", dense(part, 100), pixels.astype(np.int64))
    assert np.array_equal(out, (sums + (1 << 21)) >> 22)


def test_columns_are_normalised_and_placed() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (50, 6, 3), dtype=np.uint8)
    y = tables((0.0, 50.0), 50, 20)
    gain, offset = np.array([2, 3, 5], np.float32), np.array([-1, 0, 7], np.float32)
    out = np.full((3, 23, 9), np.float32(-99))
    resample.resize_columns(with_fourth_channel(pixels), 0, *y, gain, offset, 1, 2, out)
    levels = (np.einsum("iy,yjc->ijc", dense(y, 50), pixels.astype(np.int64)) + (1 << 21)) >> 22
    expected = np.full((3, 23, 9), np.float32(-99))
    expected[:, 1:21, 2:8] = np.moveaxis(levels * gain + offset, -1, 0)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
