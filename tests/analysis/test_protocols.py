"""What protocols do to a photo before the network sees it."""

import io

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from dctafd.analysis.compressed_input import compressed_inputs
from dctafd.analysis.protocols import Condition, Protocol, protocol_conditions
from dctafd.jpeg.quality import estimate_quality
from tests.support.evaluations import (
    SPEC,
    compressed_input,
    normalised,
    photo,
    recompressed,
    reference_crop,
    stored,
)
from tests.support.small_nets import CROP


def one_level() -> float:
    return 1.01 / 255 / min(SPEC.std)


def test_single_resizes_crops_and_compresses() -> None:
    data = stored(photo(0))
    (condition,) = protocol_conditions("single", [10])
    result = compressed_input(data, condition)
    expected = normalised(recompressed(reference_crop(data), 10))
    np.testing.assert_allclose(result.pixels, expected, atol=one_level())
    assert estimate_quality(result.header).value == 10
    assert result.header.subsampling == "4:2:0"
    assert (result.header.width, result.header.height) == (CROP, CROP)


def test_imagenet_c_is_saved_again_at_quality_85() -> None:
    data = stored(photo(0))
    (condition,) = protocol_conditions("imagenet-c", [10])
    result = compressed_input(data, condition)
    expected = normalised(recompressed(reference_crop(data), 10, 85))
    np.testing.assert_allclose(result.pixels, expected, atol=one_level())
    assert estimate_quality(result.header).value == 85


def test_native_compresses_first() -> None:
    data = stored(photo(0))
    (condition,) = protocol_conditions("native", [10])
    result = compressed_input(data, condition)
    whole = recompressed(Image.open(io.BytesIO(data)).convert("RGB"), 10)
    expected = functional.center_crop(functional.resize(whole, [SPEC.resize]), [SPEC.crop])
    np.testing.assert_allclose(result.pixels, normalised(expected), atol=one_level())
    assert (result.header.width, result.header.height) == (64, 48)


def test_stored_takes_files_as_they_are() -> None:
    data = stored(photo(0), quality=31)
    (condition,) = protocol_conditions("stored")
    result = compressed_input(data, condition)
    np.testing.assert_allclose(result.pixels, normalised(reference_crop(data)), atol=one_level())
    assert estimate_quality(result.header).value == 31


def test_repeated_draws_its_qualities_from_the_list() -> None:
    data = stored(photo(0))
    conditions = protocol_conditions("repeated", [12, 30], [1, 3])
    assert [condition.times for condition in conditions] == [1, 3]
    drawn = np.random.default_rng([5, 1]).choice([12, 30], 3)
    result = compressed_input(data, conditions[1], (5, 1))
    expected = normalised(recompressed(reference_crop(data), *map(int, drawn)))
    np.testing.assert_allclose(result.pixels, expected, atol=one_level())


@pytest.mark.parametrize("protocol", ["single", "native"])
def test_originals_in_other_formats_and_turned_ones_show_the_same(protocol: Protocol) -> None:
    image = photo(0)
    (condition,) = protocol_conditions(protocol, [30])
    files = {}
    for kind in ("PNG", "BMP", "TIFF"):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        files[kind] = buffer.getvalue()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    files["turned"] = buffer.getvalue()
    expected = recompressed(image, 30) if protocol == "native" else image
    expected = functional.center_crop(functional.resize(expected, [SPEC.resize]), [SPEC.crop])
    if protocol == "single":
        expected = recompressed(expected, 30)
    for data in files.values():
        found = compressed_input(data, condition)
        np.testing.assert_allclose(found.pixels, normalised(expected), atol=one_level())


def test_a_turned_jpeg_is_cropped_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    buffer = io.BytesIO()
    photo(1).save(buffer, "JPEG", quality=95, subsampling=0, exif=exif)
    as_it_is, compressed = compressed_inputs(buffer.getvalue(), [Condition(None), Condition(95)], SPEC)
    upside_down = as_it_is.pixels[:, ::-1, ::-1]
    difference, other = (np.abs(compressed.pixels - p).mean() for p in (as_it_is.pixels, upside_down))
    assert difference < 0.2 * other


def test_a_picture_that_is_no_jpeg_is_read_as_if_it_were_one_without_loss() -> None:
    buffer = io.BytesIO()
    photo(2).save(buffer, "PNG")
    found = compressed_input(buffer.getvalue(), Condition(None))
    expected = functional.center_crop(functional.resize(photo(2), [SPEC.resize]), [SPEC.crop])
    np.testing.assert_allclose(found.pixels, normalised(expected), atol=3 * one_level())
    assert estimate_quality(found.header).value == 100
    assert (found.header.width, found.header.height) == (64, 48)


def test_condition_is_a_plain_value() -> None:
    assert protocol_conditions("single", [7]) == (Condition(7),)
    assert protocol_conditions("native", [7]) == (Condition(7, full_size=True),)
    assert protocol_conditions("imagenet-c", [7]) == (Condition(7, again=85),)
