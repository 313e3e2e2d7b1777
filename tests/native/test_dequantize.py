"""Dequantisation of grids against plain NumPy."""

import numpy as np
import pytest

from dctafd_native.dequantize import dequantize_grid


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (1, 3), (5, 9), (9, 5), (12, 23)])
@pytest.mark.parametrize(
    ("limit", "dtype"), [(16384, np.int16), (16384, np.float32), (2**31 - 1, np.float32)]
)
def test_dequantize_grid(
    shape: tuple[int, int], transpose: bool, limit: int, dtype: type[np.int16] | type[np.float32]
) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(-32768, 32768, (17, 19, 8, 8)).astype(np.int16)
    rows, columns = (rng.integers(0, size, count) for size, count in zip((17, 19), shape, strict=True))
    factors = rng.integers(-65535, 65536, (8, 8)).astype(np.int32)
    values = np.clip(blocks[rows[:, None], columns].astype(np.int64) * factors, -limit, limit)
    if transpose:
        values = values.transpose(1, 0, 3, 2)
    expected = values.reshape(*values.shape[:2], 64).transpose(2, 0, 1).astype(dtype)
    out = np.empty(expected.shape, dtype)
    dequantize_grid(blocks, rows, columns, factors, transpose, np.int32(limit), out)
    assert np.array_equal(out, expected)
