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


def in_columns(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    out = np.empty((len(planes), planes.shape[2], resample.padded_rows(planes.shape[1])), np.uint8)
    resample.transpose_planes(planes, out)
    return out


def padded(outputs: int) -> int:
    return -(-outputs // resample.TILE) * resample.TILE


def resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float32]:
    x = tables((0.0, float(pixels.shape[1])), pixels.shape[1], width)
    y = tables((0.0, float(pixels.shape[0])), pixels.shape[0], height)
    columns = in_columns(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))
    rows = np.empty((3, columns.shape[2], padded(width)), np.uint8)
    resample.resize_rows(columns, 0, *x, rows)
    out = np.empty((3, height, width), np.float32)
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    resample.resize_columns(rows, 0, *y, ones, zeros, 0, 0, width, out)
    return np.moveaxis(out, 0, -1)


@pytest.mark.parametrize("shape", [(1, 5, 3), (3, 32, 16), (3, 33, 50), (1, 70, 17)])
def test_planes_are_transposed(shape: tuple[int, int, int]) -> None:
    planes = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(in_columns(planes)[:, :, : shape[1]], planes.transpose(0, 2, 1))


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
    planes = np.random.default_rng(1).integers(0, 256, (3, 9, 100), dtype=np.uint8)
    part = tables((0.0, 100.0), 100, 43, 11, 20)
    origin = int(part[0][0])
    columns = in_columns(np.ascontiguousarray(planes[:, :, origin:80]))
    out = np.empty((3, columns.shape[2], padded(20)), np.uint8)
    resample.resize_rows(columns, origin, *part, out)
    sums = np.einsum("jx,cix->cij", dense(part, 100), planes.astype(np.int64))
    assert np.array_equal(out[:, :9, :20], (sums + (1 << 21)) >> 22)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("width", [6, 77])
def test_columns_are_normalised_and_placed(width: int, channels: int) -> None:
    planes = np.random.default_rng(2).integers(0, 256, (channels, 50, width + 2), dtype=np.uint8)
    y = tables((0.0, 50.0), 50, 20)
    gain, offset = np.array([2, 3, 5], np.float32), np.array([-1, 0, 7], np.float32)
    out = np.full((3, 23, width + 3), np.float32(-99))
    resample.resize_columns(planes, 0, *y, gain, offset, 1, 2, width, out)
    levels = (np.einsum("iy,cyj->cij", dense(y, 50), planes[:, :, :width].astype(np.int64)) + (1 << 21)) >> 22
    expected = np.full_like(out, -99)
    expected[:, 1:21, 2 : width + 2] = levels * gain[:, None, None] + offset[:, None, None]
    np.testing.assert_allclose(out, expected, rtol=1e-6)
