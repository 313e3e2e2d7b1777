"""Crop geometry against torchvision's functions on Pillow images."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import functional

from dctafd.inputs.geometry import ORIENTATIONS, PictureLayout, crop_geometry


def layout(width: int, height: int, orientation: int = 1) -> PictureLayout:
    return PictureLayout(width, height, orientation, ((1, 1),))


@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (301, 222), (640, 257), (99, 1001), (30, 40), (1, 9)]
)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), (100, 128), (None, 224)])
def test_sizes_and_offsets_are_torchvisions(size: tuple[int, int], resize: int | None, crop: int) -> None:
    """A picture whose pixels are their own coordinates tells which of them are in the crop."""
    geometry = crop_geometry(layout(*size), resize, crop)
    image = Image.new("L", size)
    resized = functional.resize(image, resize).size if resize else size
    assert (geometry.x.resized, geometry.y.resized) == resized
    for axis, length in ((geometry.x, resized[0]), (geometry.y, resized[1])):
        line = np.arange(1, length + 1, dtype=np.int32)[None]
        cropped = functional.center_crop(Image.fromarray(line, "I"), [1, crop])
        expected = np.asarray(cropped)[0]
        places = np.arange(axis.offset, axis.offset + crop)
        inside = (places >= 0) & (places < axis.resized)
        assert np.array_equal(np.where(inside, places + 1, 0), expected)
        assert (axis.first, axis.count) == (places[inside][0], inside.sum())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_like_pillow(orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    turned = ORIENTATIONS[orientation].turn(pixels)
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_frequencies_are_those_of_turned_samples(orientation: int) -> None:
    k, x = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * x + 1) * k * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    samples = np.random.default_rng(1).normal(size=(8, 8))
    turn = ORIENTATIONS[orientation]
    expected = basis @ turn.turn(samples) @ basis.T
    coefficients = basis @ samples @ basis.T * turn.frequency_signs()
    np.testing.assert_allclose(coefficients.T if turn.transpose else coefficients, expected, atol=1e-12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_and_cells_point_at_the_same_stored_pixels(orientation: int) -> None:
    """Crop a picture of coordinates upright, and by the stored region that the geometry names."""
    geometry = crop_geometry(layout(97, 61, orientation), None, 40)
    turn = ORIENTATIONS[orientation].turn
    coordinates = np.moveaxis(np.mgrid[0:61, 0:97], 0, -1)  # (rows, columns, (y, x)) as stored
    upright = turn(coordinates)
    top, left = geometry.y.first, geometry.x.first
    expected = upright[top : top + 40, left : left + 40]
    region = geometry.stored_region((left, left + 40), (top, top + 40), 1)
    assert np.array_equal(turn(coordinates[region[1] : region[3], region[0] : region[2]]), expected)
    rows, columns = geometry.y.cell_pixels(), geometry.x.cell_pixels()
    if geometry.orientation.transpose:
        cells = coordinates[columns[None, :], rows[:, None]]
    else:
        cells = coordinates[rows[:, None], columns[None, :]]
    assert np.array_equal(cells, expected[4::8, 4::8])


@pytest.mark.parametrize(
    ("size", "resize", "reduction"),
    [((511, 511), 256, 1), ((512, 700), 256, 2), ((1023, 3000), 256, 2), ((1024, 1024), 256, 4),
     ((4000, 3000), 256, 8), ((9000, 9000), 256, 8), ((4000, 3000), None, 1), ((100, 80), 256, 1)],
)  # fmt: skip
def test_reduction_is_pillows_draft(size: tuple[int, int], resize: int | None, reduction: int) -> None:
    assert crop_geometry(layout(*size), resize, 224).reduction == reduction


@pytest.mark.parametrize("mirrored", [False, True])
def test_reduced_box_ends_where_the_picture_ends(mirrored: bool) -> None:
    geometry = crop_geometry(layout(4001, 3001, 3 if mirrored else 1), 256, 224)
    start, stop, samples = geometry.x.box(8)
    assert samples == 501
    assert stop - start == 4001 / 8
    assert (stop if mirrored else 501 - start) == 501


def test_scale_is_stored_pixels_per_classifier_pixel() -> None:
    scale = crop_geometry(layout(1024, 512), 256, 224).scale
    assert scale.dtype == np.float32
    np.testing.assert_allclose(scale, [2, 2])
