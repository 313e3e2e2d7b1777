"""Thumbnails from the lowest coefficients against Pillow's full decode, cropped and made smaller."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from dctafd import prepare, read
from dctafd.inputs.model_input import ModelInput
from tests.support.jpeg_files import encode, photo_like


def smooth(width: int, height: int) -> np.ndarray:
    """Return a picture whose detail a thumbnail can hold, so that what differs is where it lies."""
    noisy = Image.fromarray(photo_like(width, height))
    return np.asarray(noisy.filter(ImageFilter.GaussianBlur(max(width, height) / 60)))


def expected(data: bytes, resize: int | None, crop: int, side: int) -> np.ndarray:
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    scale = 1 if resize is None else resize / min(picture.size)
    width, height = (min(crop / scale, length) for length in picture.size)
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    size = [max(round(side * length / max(width, height)), 1) for length in (width, height)]
    box = (left, top, left + width, top + height)
    return np.asarray(picture.resize(size, Image.Resampling.BOX, box=box), np.float32)


def with_orientation(data: bytes, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).save(file, "JPEG", quality="keep", exif=exif)
    return file.getvalue()


def thumbnail_of(prepared: ModelInput) -> NDArray[np.uint8]:
    assert prepared.thumbnail is not None
    return prepared.thumbnail


@pytest.mark.parametrize(
    ("size", "resize", "crop", "options"),
    [
        ((320, 240), 256, 224, {}),
        ((320, 240), 256, 224, {"subsampling": "4:4:4"}),
        ((2400, 1800), 256, 224, {}),  # only DC coefficients were kept
        ((1300, 1000), 256, 224, {"subsampling": "4:2:2"}),  # a part, reduced
        ((90, 70), 256, 224, {}),  # enlarged
        ((150, 400), None, 224, {}),  # padded
    ],
)
def test_thumbnails_look_like_the_crop(
    size: tuple[int, int], resize: int | None, crop: int, options: dict[str, Any]
) -> None:
    data = encode(smooth(*size), 90, **options)
    found = thumbnail_of(prepare(data, resize, crop, thumbnail=96))
    wanted = expected(data, resize, crop, 96)
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    assert max(found.shape) == 96
    assert np.abs(found - wanted).mean() < 3
    assert np.abs(found[:, ::-1] - wanted).mean() > 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnails_stand_upright(orientation: int) -> None:
    data = with_orientation(encode(smooth(320, 240), 90), orientation)
    wanted = expected(data, 256, 224, 64)
    assert np.abs(thumbnail_of(prepare(data, thumbnail=64)) - wanted).mean() < 3


def test_a_photo_read_whole_gives_the_same() -> None:
    data = encode(photo_like(320, 240), 90)
    whole, planned = (thumbnail_of(prepare(source, thumbnail=48)) for source in (read(data), data))
    assert np.array_equal(whole, planned)


def test_gray_photos_have_gray_thumbnails() -> None:
    file = io.BytesIO()
    Image.fromarray(photo_like(320, 240)).convert("L").save(file, "JPEG")
    found = thumbnail_of(prepare(file.getvalue(), thumbnail=32))
    assert np.array_equal(found[..., 0], found[..., 2])


def test_none_unless_asked_for() -> None:
    assert prepare(encode(photo_like(320, 240), 90)).thumbnail is None
