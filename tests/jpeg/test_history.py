"""Earlier compressions: found with their quality, and none seen where there was none."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dctafd
from dctafd.jpeg.history import HistoryEstimate, estimate_history, estimate_history_of_blocks
from dctafd.jpeg.ijg_tables import LUMINANCE, scaled_table
from tools.places import SHARED


def synthetic_photo(seed: int, width: int = 224, height: int = 224) -> Image.Image:
    """Noise with a photo's spectrum (amplitude about 1 / frequency), textured in some regions only."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1
    gray = np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) / frequency**1.2).real
    gray = 128 + 45 * gray / gray.std()
    tint = np.linspace(-20, 20, width)[None, :, None] * rng.normal(size=3)
    return Image.fromarray(np.clip(gray[..., None] + tint, 0, 255).astype(np.uint8))


def compress(image: Image.Image, quality: int, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def decompress(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def twice(image: Image.Image, first: int, second: int) -> bytes:
    return compress(decompress(compress(image, first)), second)


def history(data: bytes) -> HistoryEstimate:
    return estimate_history(dctafd.read(data))


@pytest.mark.parametrize("first", [7, 10, 15, 18, 25, 50])
@pytest.mark.parametrize("second", [75, 85, 95])
def test_the_first_quality_is_found_under_a_finer_second_one(first: int, second: int) -> None:
    estimate = history(twice(synthetic_photo(first), first, second))
    assert estimate.primary_quality is not None
    assert abs(estimate.primary_quality - first) <= 1
    assert estimate.confidence > 0.9


@pytest.mark.parametrize("quality", [30, 50, 75, 85, 90, 95, 100])
def test_a_single_compression_has_no_history(quality: int) -> None:
    for seed in range(4):
        estimate = history(compress(synthetic_photo(seed), quality))
        assert estimate.primary_quality is None
        assert estimate.confidence > 0.5


@pytest.mark.parametrize("quality", [75, 85, 95])
def test_compressed_then_resized_counts_as_single(quality: int) -> None:
    first = decompress(compress(synthetic_photo(1, 320, 288), 10))
    for size in ((224, 201), (160, 144), (640, 576)):
        assert history(compress(first.resize(size), quality)).primary_quality is None


def test_compressed_then_shifted_counts_as_single() -> None:
    first = decompress(compress(synthetic_photo(2, 240, 240), 10))
    assert history(compress(first.crop((3, 5, 227, 229)), 85)).primary_quality is None


@pytest.mark.parametrize(("first", "second"), [(70, 85), (80, 95), (25, 50), (10, 30)])
def test_further_pairs_of_qualities_are_told(first: int, second: int) -> None:
    estimate = history(twice(synthetic_photo(9), first, second))
    assert estimate.primary_quality in (first - 1, first, first + 1)


def test_a_finer_first_compression_leaves_no_trace() -> None:
    assert history(twice(synthetic_photo(3), 90, 60)).primary_quality is None


def test_the_same_quality_twice_leaves_no_trace() -> None:
    assert history(twice(synthetic_photo(3), 85, 85)).primary_quality is None


def test_gray_photos_work_as_well() -> None:
    gray = synthetic_photo(4).convert("L")
    again = decompress(compress(gray, 20)).convert("L")
    estimate = history(compress(again, 90))
    assert estimate.primary_quality in (19, 20, 21)


def test_measured_steps_are_the_first_tables() -> None:
    data = twice(synthetic_photo(5), 20, 90)
    steps = estimate_history(dctafd.read(data), measure_steps=True).primary_steps
    expected = scaled_table(LUMINANCE, 20)
    assert steps is not None
    told = np.asarray(steps > 0)
    assert told.sum() >= 12
    assert not told[0, 0]
    np.testing.assert_allclose(steps[told].astype(int), expected[told].astype(int), atol=2)


def test_steps_are_measured_only_when_asked_for() -> None:
    assert history(twice(synthetic_photo(5), 20, 90)).primary_steps is None


def test_large_photos_are_sampled_and_tiny_ones_undecided() -> None:
    large = synthetic_photo(6, 1024, 768)
    assert history(twice(large, 15, 85)).primary_quality in (14, 15, 16)
    assert history(compress(large, 85)).primary_quality is None
    assert history(twice(synthetic_photo(7, 16, 16), 15, 85)).primary_quality is None


def test_no_blocks_and_flat_blocks_have_no_history() -> None:
    table = scaled_table(LUMINANCE, 85)
    for blocks in (np.zeros((0, 8, 8), np.int16), np.zeros((784, 8, 8), np.int16)):
        estimate = estimate_history_of_blocks(blocks, table)
        assert (estimate.primary_quality, estimate.evidence) == (None, 0.0)


def test_blocks_need_not_be_contiguous() -> None:
    luma = dctafd.read(twice(synthetic_photo(8), 18, 85)).components[0]
    whole = estimate_history_of_blocks(luma.coefficients.reshape(-1, 8, 8), luma.quant_table)
    reordered = np.asfortranarray(luma.coefficients.reshape(-1, 8, 8))
    assert estimate_history_of_blocks(reordered, luma.quant_table).evidence == whole.evidence


@pytest.mark.shared("images/eval")
def test_real_photos_meet_the_figures() -> None:
    """docs/history.md has them for more photos and qualities."""
    for path in sorted((SHARED / "images/eval").glob("*.JPEG"))[::50]:
        with Image.open(path) as image:
            photo = image.convert("RGB").crop((1, 1, 225, 225))
        for first in (7, 15, 25):
            estimate = history(twice(photo, first, 85))
            assert estimate.primary_quality is not None
            assert abs(estimate.primary_quality - first) <= 1
        for quality in (30, 60, 90):
            assert history(compress(photo, quality)).primary_quality is None
