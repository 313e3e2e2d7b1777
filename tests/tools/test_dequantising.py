"""`tools/measure_dequantising.py`: where in a quantisation bin Laplacian coefficients lie on average."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dctafd import decode, read
from dctafd.training.degrade import encode_jpeg

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from measure_dequantising import dequantised_to_means, laplacian_shifts


@pytest.mark.parametrize("width", [3.0, 10.0, 40.0])
def test_the_shift_is_that_of_the_samples_that_were_quantised(width: float) -> None:
    step = 16
    samples = np.random.default_rng(0).laplace(0, width, (200_000, 1))
    quantised = np.abs(np.rint(samples / step)).astype(np.int64)
    nonzero = quantised > 0
    lost = (quantised * step)[nonzero].mean() - np.abs(samples[nonzero]).mean()
    (shift,) = laplacian_shifts(quantised, np.array([step]))
    assert shift == pytest.approx(lost, abs=0.12)


def test_a_frequency_without_coefficients_stays_where_it_is() -> None:
    shifts = laplacian_shifts(np.zeros((50, 64), np.int64), np.full(64, 20))
    assert np.isfinite(shifts).all()


def test_means_leave_the_middle_grey_of_a_flat_photo_and_move_a_noisy_one() -> None:
    flat, noisy = np.full((32, 32, 3), 90, np.uint8), np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    jpeg = read(encode_jpeg(flat, 30))
    np.testing.assert_array_equal(decode(dequantised_to_means(jpeg)), decode(jpeg))
    jpeg = read(encode_jpeg(noisy.astype(np.uint8), 30))
    means, middles = (decode(one).astype(float) for one in (dequantised_to_means(jpeg), jpeg))
    assert means.var() < middles.var()  # every nonzero AC coefficient is smaller
