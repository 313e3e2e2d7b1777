"""Pairs of a clean and a compressed view, and what they are loaded from."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dctafd.nets.model_specs import ModelSpec
from dctafd.training.config import TrainingConfig
from dctafd.training.data import (
    PairSource,
    collate_pairs,
    find_photos,
    iter_batches,
    load_photos,
    make_pair,
)
from dctafd.training.degrade import Degradation, DegradationRange, view_size
from dctafd.training.validation import split_photos
from dctafd.training.views import FixedCrop, random_view
from tests.support.small_nets import (
    CROP,
)
from tests.support.small_training import PHOTOS, SPEC, photo


@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(100, "4:4:4"),
        Degradation(100, "4:4:4", shift=(3, 7)),
        Degradation(100, "4:4:4", scale=1.5),
        Degradation(100, "4:4:4", scale=0.8),
        Degradation(100, "4:4:4", second_quality=100, second_shift=(5, 2)),
    ],
)
def test_both_sides_of_a_pair_show_the_same_view(degradation: Degradation) -> None:
    spec = ModelSpec("plain", "none", crop=CROP, mean=(0, 0, 0), std=(1, 1, 1))
    rng = np.random.default_rng(0)
    gray = np.repeat(photo(1, (96, 96))[:, :, :1], 3, axis=2)  # the second compression subsamples chroma
    pair = make_pair(random_view(gray, view_size(degradation, CROP), rng), degradation, spec)
    assert pair.clean.shape == pair.compressed.pixels.shape == (3, CROP, CROP)
    difference = 255 * np.abs(pair.clean - pair.compressed.pixels)
    assert difference.mean() < 1.5
    shifted = 255 * np.abs(pair.clean[:, 1:] - pair.compressed.pixels[:, :-1])
    assert difference.mean() < shifted.mean() / 2


def test_pairs_are_normalised_as_the_classifier_wants() -> None:
    plain, normalised = (
        make_pair(photo(1, (CROP, CROP)), Degradation(50), replace(SPEC, mean=mean, std=std)).clean
        for mean, std in (((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), ((0.1, 0.2, 0.3), (0.5, 0.5, 0.25)))
    )
    expected = (plain - np.array([0.1, 0.2, 0.3])[:, None, None]) / np.array([0.5, 0.5, 0.25])[:, None, None]
    np.testing.assert_allclose(normalised, expected, atol=1e-5)


def test_a_step_has_the_same_batch_whenever_it_is_made() -> None:
    source = PairSource(PHOTOS, SPEC, DegradationRange(), batch_size=2, seed=3)
    with closing(iter_batches(source, 0, jobs=2)) as batches:
        from_start = [next(batches) for _ in range(3)]
    with closing(iter_batches(source, 2, jobs=1, ahead=1)) as batches:
        resumed = next(batches)
    for first, second in zip(
        (from_start[2].clean, *from_start[2].compressed.tensors()),
        (resumed.clean, *resumed.compressed.tensors()),
        strict=True,
    ):
        assert torch.equal(first, second)
    other = PairSource(PHOTOS, SPEC, DegradationRange(), batch_size=2, seed=4).pair(2, 0)
    assert not np.array_equal(other.clean, resumed.clean[0].numpy())


def test_each_photo_comes_once_an_epoch() -> None:
    flat = [np.full((40, 40, 3), 10 * index, np.uint8) for index in range(5)]
    spec = ModelSpec("plain", "none", crop=CROP, mean=(0, 0, 0), std=(1, 1, 1))
    source = PairSource(flat, spec, DegradationRange(), batch_size=5, seed=0)
    for step in range(2):
        levels = [round(255 * float(source.pair(step, index).clean.mean())) for index in range(5)]
        assert sorted(levels) == [0, 10, 20, 30, 40]


def test_smaller_views_are_cut_not_shrunk() -> None:
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8)[None, :, None], (96, 96, 3))
    spec = ModelSpec("plain", "none", crop=64, mean=(0, 0, 0), std=(1, 1, 1))
    source = PairSource([ramp], spec, DegradationRange(resized=0), batch_size=8, seed=0, crop=32)
    pairs = [source.pair(0, index) for index in range(8)]
    assert {pair.clean.shape for pair in pairs} == {(3, 32, 32)}
    assert {pair.compressed.coefficients.shape[-2:] for pair in pairs} == {(4, 4)}
    across = [abs(float(255 * np.ptp(pair.clean[0].mean(0)))) for pair in pairs]
    assert max(across) <= 31 * 96 / 64 + 1  # as many photo pixels per pixel as in a view of 64
    with pytest.raises(ValueError, match="multiple of 8 pixels, not 100"):
        TrainingConfig(crop=100)


# What a degradation needs around the crop differs by corner; mirroring and stretching come before, to any.
@pytest.mark.parametrize(("mirrored", "stretch"), [(False, 1.0), (True, 0.75)])
@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(100, "4:4:4"),
        Degradation(100, "4:4:4", shift=(7, 3)),
        Degradation(100, "4:4:4", scale=1.5),
        Degradation(100, "4:4:4", shift=(7, 7), second_quality=100, second_shift=(7, 7)),
        Degradation(100, "4:4:4", scale=0.8, second_quality=100, second_shift=(5, 2)),
    ],
)
@pytest.mark.parametrize("corner", [(20.0, 24.0), (0.0, 0.0), (96 - 1.2 * CROP, 96 - 1.2 * CROP)])
def test_a_fixed_box_shows_the_same_whatever_is_done_to_it(
    degradation: Degradation, mirrored: bool, corner: tuple[float, float], stretch: float
) -> None:
    spec = ModelSpec("plain", "none", crop=CROP, mean=(0, 0, 0), std=(1, 1, 1))
    gray = np.repeat(photo(1, (96, 96))[:, :, :1], 3, axis=2)
    crop = FixedCrop(*corner, zoom=1.2, mirrored=mirrored, stretch=stretch)
    pair = make_pair(crop.cut(gray, CROP, degradation), degradation, spec)
    pristine = crop.cut(gray, CROP).transpose(2, 0, 1).astype(np.float32)
    difference = np.abs(255 * pair.clean - pristine)
    assert difference.mean() < 1.5
    moved = np.abs(255 * pair.clean[:, 1:] - pristine[:, :-1])
    assert difference.mean() < moved.mean() / 2


@pytest.mark.parametrize("size", [(40, 90), (64, 64), (300, 200)])
def test_fixed_boxes_lie_in_the_photo_and_the_largest_span_it(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    crops = [FixedCrop.draw(picture, CROP, np.random.default_rng(seed)) for seed in range(100)]
    for crop in crops:
        for corner, side in ((crop.top, size[0]), (crop.left, size[1])):
            assert 0 <= corner <= side - CROP * crop.zoom + 1e-6
    assert 0.95 < max(crop.zoom for crop in crops) * CROP / min(size) <= 1


def test_boxes_come_again_compressed_in_another_way() -> None:
    source = PairSource(PHOTOS[:2], SPEC, DegradationRange(), batch_size=2, seed=0, fixed_crops=2)
    batches = [collate_pairs([source.pair(step, index) for index in range(2)]) for step in range(4)]
    numbers = [sorted(batch.fixed_crops) for batch in batches]
    assert numbers == [[0, 2], [1, 3], [0, 2], [1, 3]]
    seen = [(batch.fixed_crops, batch.pristine) for batch in (batches[0], batches[2])]
    first, again = (dict(zip(numbers, shown, strict=True)) for numbers, shown in seen if shown is not None)
    assert all(torch.equal(first[number], again[number]) for number in (0, 2))
    steps = [batch.compressed.steps for batch in (batches[0], batches[2])]
    assert not torch.equal(*steps)


def test_photos_are_found_loaded_and_shrunk(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "sub/a.jpg"):
        Image.fromarray(photo(0, (80, 120))).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a photo")
    found = find_photos([tmp_path])
    assert [path.name for path in found] == ["b.png", "a.jpg"]
    assert [loaded.shape for loaded in load_photos(found, 40, jobs=1)] == [(40, 60, 3)] * 2
    listing = tmp_path / "list.txt"
    listing.write_text(f"{tmp_path / 'b.png'}\n\n")
    assert find_photos([listing]) == [tmp_path / "b.png"]
    with pytest.raises(FileNotFoundError, match="no folder of photos"):
        find_photos([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no photos in"):
        find_photos([tmp_path / "empty"])


def test_held_out_photos_do_not_depend_on_their_folder_or_order() -> None:
    paths = [Path(f"a/{index}.jpg") for index in range(20)]
    training, held_out = split_photos(paths, 5)
    assert len(held_out) == 5
    assert sorted([*training, *held_out]) == sorted(paths)
    moved = [Path("elsewhere") / path.name for path in reversed(paths)]
    assert {path.name for path in split_photos(moved, 5)[1]} == {path.name for path in held_out}
    with pytest.raises(ValueError, match="leave none"):
        split_photos(paths, 20)
