"""Degradations: drawn as announced, applied as described."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from dctafd.inputs.pictures import decode_jpeg, encode_jpeg
from dctafd.jpeg.quality import estimate_quality
from dctafd.jpeg.reader import read
from dctafd.training.degrade import (
    LARGE_SCALE,
    Degradation,
    DegradationRange,
    degrade,
    sample_degradation,
    view_size,
)


def view(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def drawn(count: int, drawn_from: DegradationRange) -> list[Degradation]:
    rng = np.random.default_rng(0)
    return [sample_degradation(rng, drawn_from) for _ in range(count)]


def test_shares_are_those_announced() -> None:
    degradations = drawn(4000, DegradationRange(highest=95))  # so that 98 and above are the clean ones
    clean = [d for d in degradations if d.quality >= 98]
    others = [d for d in degradations if d.quality < 98]
    assert len(clean) / 4000 == pytest.approx(0.05, abs=0.015)
    assert all(d.subsampling == "4:4:4" and d.second_quality is None for d in clean)

    def share(condition: list[bool]) -> float:
        return sum(condition) / len(others)

    assert share([d.scale != 1 for d in others]) == pytest.approx(0.35, abs=0.03)
    assert share([d.scale > LARGE_SCALE for d in others]) == pytest.approx(0.07, abs=0.015)
    assert share([d.shift != (0, 0) for d in others]) == pytest.approx(0.3, abs=0.03)
    assert share([d.second_quality == 85 for d in others]) == pytest.approx(0.15, abs=0.03)
    assert share([d.second_quality is not None for d in others]) == pytest.approx(0.25, abs=0.03)
    kinds = Counter(d.subsampling for d in others)
    assert set(kinds) == {"4:4:4", "4:2:2", "4:2:0"}
    assert all(0.5 <= d.scale <= 16 for d in others)
    assert all((d.noise > 0) == (d.scale > LARGE_SCALE) for d in others)
    assert max(d.quality for d in drawn(4000, DegradationRange(clean=0))) == 100


def test_noise_is_in_the_file_and_not_in_the_clean_view() -> None:
    degradation = Degradation(100, "4:4:4", scale=10.0, noise=6.0, noise_seed=4)
    pixels = np.full((*view_size(degradation, 32), 3), 128, np.uint8)
    stored, clean = degrade(pixels, degradation)
    assert np.array_equal(clean, pixels)
    assert decode_jpeg(stored).std() == pytest.approx(6.0, rel=0.1)
    assert degrade(pixels, degradation)[0] == stored


def test_half_of_the_qualities_lie_below_the_geometric_mean() -> None:
    qualities = [d.quality for d in drawn(4000, DegradationRange(lowest=5, highest=95, clean=0))]
    assert (min(qualities), max(qualities)) == (5, 95)
    assert np.mean(np.array(qualities) < (5 * 96) ** 0.5) == pytest.approx(0.5, abs=0.03)


def test_the_same_generator_state_gives_the_same_degradations() -> None:
    assert drawn(20, DegradationRange()) == drawn(20, DegradationRange())


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_files_have_the_quality_and_sampling_asked_for(subsampling: str) -> None:
    degradation = Degradation(23, subsampling)  # type: ignore[arg-type]
    pixels = view(*view_size(degradation, 32))
    stored, clean = degrade(pixels, degradation)
    jpeg = read(stored)
    assert jpeg.subsampling == subsampling
    estimate = estimate_quality(jpeg)
    assert (estimate.value, estimate.exact) == (23, True)
    assert np.array_equal(clean, pixels)


def test_a_shift_moves_the_centre_crop_off_the_grid() -> None:
    assert view_size(Degradation(10, shift=(3, 5)), 32) == (38, 42)


def test_a_scale_makes_the_stored_photo_larger() -> None:
    assert view_size(Degradation(10, scale=1.5), 32) == (48, 48)


def test_a_second_compression_has_its_own_quality_and_grid() -> None:
    degradation = Degradation(10, second_quality=85, second_shift=(2, 6))
    pixels = view(*view_size(degradation, 32))
    assert pixels.shape == (34, 38, 3)
    stored, clean = degrade(pixels, degradation)
    assert np.array_equal(clean, pixels[2:, 6:])
    once = decode_jpeg(encode_jpeg(pixels, 10))
    assert stored == encode_jpeg(np.ascontiguousarray(once[2:, 6:]), 85)
    with Image.open(io.BytesIO(stored)) as image:
        assert image.size == (32, 32)
