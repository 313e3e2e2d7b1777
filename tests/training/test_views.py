"""Views of photos: pasted patches show the same part of a photo whatever is done to the view."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dctafd.nets.model_specs import ModelSpec
from dctafd.training.config import TrainingConfig
from dctafd.training.data import PairSource
from dctafd.training.degrade import Degradation, DegradationRange, view_size
from dctafd.training.views import FixedCrop, Patch, crop_window, random_view

CROP = 32
SPEC = ModelSpec("plain", "none", crop=CROP, mean=(0, 0, 0), std=(1, 1, 1))
LEVELS = (40, 200)
FLAT = [np.full((60, 70, 3), level, np.uint8) for level in LEVELS]
LOSSLESS = DegradationRange(clean=1.0)


def source(cutmix: float, fixed_crops: int | None = None, seed: int = 0) -> PairSource:
    return PairSource(FLAT, SPEC, LOSSLESS, batch_size=2, seed=seed, fixed_crops=fixed_crops, cutmix=cutmix)


def levels_of(image: np.ndarray) -> set[int]:
    return {int(level) for level in np.unique(np.round(255 * image))}


@pytest.mark.parametrize(
    ("degradation", "expected"),
    [
        (Degradation(50), (0, 0, CROP, CROP)),
        (Degradation(50, shift=(3, 5)), (3, 5, CROP, CROP)),
        (Degradation(50, shift=(3, 5), second_quality=50, second_shift=(2, 1)), (5, 6, CROP, CROP)),
        (Degradation(50, scale=1.5), (0, 0, 48, 48)),
        (Degradation(50, scale=1.5, second_quality=50, second_shift=(2, 1)), (2, 1, 48, 48)),
    ],
)
def test_the_window_is_what_the_classifier_sees(
    degradation: Degradation, expected: tuple[int, int, int, int]
) -> None:
    assert crop_window(degradation, CROP) == expected
    top, left, height, width = expected
    rows, columns = view_size(degradation, CROP)
    assert top + height <= rows
    assert left + width <= columns


def test_a_patch_replaces_its_share_of_the_window_and_nothing_else() -> None:
    target, other = np.zeros((30, 40, 3), np.uint8), np.full((30, 40, 3), 9, np.uint8)
    pasted = Patch(0.25, 0.5, 0.5, 0.25).paste(other, target, (4, 6, 20, 24))
    expected = np.zeros((30, 40, 3), np.uint8)
    expected[9:19, 18:24] = 9
    np.testing.assert_array_equal(pasted, expected)
    assert not target.any()


def test_patches_lie_in_the_view_and_have_the_sides_they_should() -> None:
    patches = [Patch.draw(np.random.default_rng(seed)) for seed in range(200)]
    for patch in patches:
        assert 0 <= patch.top <= 1 - patch.height
        assert 0 <= patch.left <= 1 - patch.width
    sides = [side for patch in patches for side in (patch.height, patch.width)]
    assert 0.3 <= min(sides) < 0.32 < 0.78 < max(sides) <= 0.8


@pytest.mark.parametrize("fixed_crops", [None, 2])
def test_the_share_of_views_that_show_two_photos(fixed_crops: int | None) -> None:
    mixed = {
        share: sum(
            len(levels_of(source(share, fixed_crops, seed).pair(step, index).clean)) > 1
            for seed in range(20)
            for step in range(2)
            for index in range(2)
        )
        for share in (0.0, 0.5, 1.0)
    }
    # A patch of the same photo, every other time with two photos, cannot be told from none here.
    assert mixed[0.0] == 0
    assert 8 <= mixed[0.5] <= 32
    assert 25 <= mixed[1.0] <= 55


@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(100, "4:4:4", shift=(7, 3)),
        Degradation(100, "4:4:4", scale=1.5),
        Degradation(100, "4:4:4", shift=(7, 7), second_quality=100, second_shift=(7, 7)),
        Degradation(100, "4:4:4", scale=0.8, second_quality=100, second_shift=(5, 2)),
    ],
)
def test_a_fixed_box_has_the_same_patch_whatever_is_done_to_it(
    monkeypatch: pytest.MonkeyPatch, degradation: Degradation
) -> None:
    monkeypatch.setattr("dctafd.training.data.sample_degradation", lambda rng, drawn_from: degradation)
    pairs = [source(1.0, fixed_crops=2, seed=seed).pair(0, index) for seed in range(10) for index in range(2)]
    mixed = [
        pair
        for pair in pairs
        if pair.fixed_crop is not None and len(levels_of(pair.fixed_crop.pristine)) == 2
    ]
    assert len(mixed) >= 4
    for pair in mixed:
        assert pair.fixed_crop is not None
        away = np.abs(pair.clean - pair.fixed_crop.pristine) > 0.1 * np.ptp(LEVELS) / 255
        # Only a seam of a pixel may differ, where the view was resized.
        assert away.mean() <= (0.0 if degradation.scale == 1.0 else 0.15)


def test_without_patches_views_are_what_they_were() -> None:
    rng = np.random.default_rng(1)
    photos = [rng.integers(0, 256, (60, 70, 3), np.uint8) for _ in range(2)]
    plain, mixed = (
        PairSource(photos, SPEC, DegradationRange(), batch_size=2, seed=0, fixed_crops=2, cutmix=share).pair(
            0, 0
        )
        for share in (0.0, 1e-12)
    )
    np.testing.assert_array_equal(plain.clean, mixed.clean)


# What is shown of this photo can be read off its pixels: red counts rows, green counts columns.
COORDINATES = np.stack([*np.indices((150, 200)), np.zeros((150, 200))], axis=2).astype(np.uint8)


def zooms_of(view: np.ndarray) -> tuple[float, float]:
    """Photo pixels per pixel of a view of COORDINATES, down and across."""
    across = float(np.polyfit(np.arange(view.shape[1]), view[:, :, 1].mean(0), 1)[0])
    return float(np.polyfit(np.arange(view.shape[0]), view[:, :, 0].mean(1), 1)[0]), abs(across)


def a_random_view(stretch: float, seed: int) -> np.ndarray:
    return random_view(COORDINATES, (64, 64), np.random.default_rng(seed), stretch=stretch)


def a_fixed_box(stretch: float, seed: int) -> np.ndarray:
    return FixedCrop.draw(COORDINATES, 64, np.random.default_rng(seed), stretch=stretch).cut(COORDINATES, 64)


@pytest.mark.parametrize("shown", [a_random_view, a_fixed_box])
@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_views_are_stretched_both_ways_up_to_the_factor(
    shown: Callable[[float, int], np.ndarray], stretch: float
) -> None:
    zooms = np.array([zooms_of(shown(stretch, seed)) for seed in range(80)])
    assert (zooms * 64 < [151, 201]).all()
    ratios = zooms[:, 1] / zooms[:, 0]
    assert ratios.min() == pytest.approx(1 / stretch, rel=0.04)
    assert ratios.max() == pytest.approx(stretch, rel=0.04)
    assert np.log(ratios).mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("fixed_crops", [None, 2])
def test_pairs_are_stretched_where_asked(fixed_crops: int | None) -> None:
    def ratio(stretch: float, seed: int) -> float:
        made = PairSource(
            [COORDINATES], SPEC, LOSSLESS, 1, seed=seed, fixed_crops=fixed_crops, stretch=stretch
        )
        down, across = zooms_of(255 * made.pair(0, 0).clean.transpose(1, 2, 0))
        return across / down

    assert np.ptp([ratio(1.0, seed) for seed in range(20)]) < 0.05
    assert np.ptp([ratio(1.5, seed) for seed in range(20)]) > 0.4


def test_views_are_not_stretched_more_than_twice() -> None:
    with pytest.raises(ValueError, match=r"factors of 1 to 2, not 0\.5"):
        TrainingConfig(stretch=0.5)


def test_a_share_is_from_0_to_1() -> None:
    with pytest.raises(ValueError, match=r"0 to 1, not 1\.5"):
        replace(TrainingConfig(), cutmix=1.5)
