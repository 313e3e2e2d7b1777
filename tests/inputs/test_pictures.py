"""Originals of any kind show what a viewer shows."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from dctafd.errors import DctafdError, LimitExceededError
from dctafd.inputs.pictures import centre_crop, decode_picture, encode_jpeg
from tests.support.jpeg_files import photo_like

RGB = photo_like(24, 16, seed=3)  # (16, 24, 3)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_their_pixels(kind: str) -> None:
    np.testing.assert_array_equal(decode_picture(saved(Image.fromarray(RGB), kind)), RGB)
    gray = decode_picture(saved(Image.fromarray(RGB[..., 0]), kind))
    np.testing.assert_array_equal(gray, np.repeat(RGB[..., :1], 3, 2))


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "JPEG", "JPEG2000", "GIF"])
def test_other_formats_are_read(kind: str) -> None:
    assert decode_picture(saved(Image.fromarray(RGB), kind)).shape == RGB.shape


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut_off(kind: str) -> None:
    wide = RGB[..., 0].astype(np.uint16) * 257
    pixels = decode_picture(saved(Image.fromarray(wide), kind))
    np.testing.assert_array_equal(pixels, np.repeat(RGB[..., :1], 3, 2))


def test_fractions_from_0_to_1_and_values_without_a_scale() -> None:
    values = RGB[..., 0].astype(np.float32) / 255
    pixels = decode_picture(saved(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(pixels[..., 0], RGB[..., 0])
    beyond = np.array([[-100.0, 0.0, 300.0]], np.float32)
    assert decode_picture(saved(Image.fromarray(beyond), "TIFF"))[..., 1].tolist() == [[0, 64, 255]]
    deep = np.array([[0, 2**20]], np.int32)
    assert decode_picture(saved(Image.fromarray(deep), "TIFF"))[..., 1].tolist() == [[0, 255]]


def test_palettes_are_looked_up_and_what_is_transparent_is_white() -> None:
    indexed = Image.new("P", (3, 1))
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    indexed.putdata([0, 1, 2])
    red, green, blue, white = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    assert decode_picture(saved(indexed, "PNG")).tolist() == [[[*red], [*green], [*blue]]]
    through = decode_picture(saved(indexed, "PNG", transparency=1))
    assert through.tolist() == [[[*red], [*white], [*blue]]]


def test_alpha_shows_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255
    pixels = decode_picture(saved(Image.fromarray(rgba), "PNG"))
    assert pixels[0, :, 0].tolist() == [255, 127, 0]
    gray_alpha = saved(Image.fromarray(rgba[..., [0, 3]]), "PNG")
    assert decode_picture(gray_alpha)[0, :, 2].tolist() == [255, 127, 0]


def test_cmyk_is_converted() -> None:
    cmyk = Image.fromarray(RGB).convert("CMYK")
    np.testing.assert_array_equal(decode_picture(saved(cmyk, "TIFF")), np.asarray(cmyk.convert("RGB")))
    assert decode_picture(saved(cmyk, "JPEG")).shape == RGB.shape


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(RGB)
    options = {"lossless": True} if kind == "WEBP" else {}
    turn = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.swapaxes(0, 1),
        6: np.rot90(RGB, -1),
        8: np.rot90(RGB, 1),
        7: RGB[::-1, ::-1].swapaxes(0, 1),
    }
    np.testing.assert_array_equal(
        decode_picture(saved(stored, kind, exif=exif, **options)), turn[orientation]
    )


def test_an_animation_shows_its_first_picture() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ((10, 20, 30), (200, 100, 0))]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert decode_picture(data)[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("data", [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_an_error(data: bytes) -> None:
    with pytest.raises(DctafdError, match="cannot be read"):
        decode_picture(data)


def test_a_cut_off_picture_is_an_error() -> None:
    data = saved(Image.fromarray(photo_like(64, 64, seed=1)), "PNG")
    with pytest.raises(DctafdError, match="cannot be read"):
        decode_picture(data[: len(data) // 2])


def test_pixels_are_limited() -> None:
    data = saved(Image.fromarray(RGB), "PNG")
    with pytest.raises(LimitExceededError, match="24x16 pixels"):
        decode_picture(data, max_pixels=24 * 16 - 1)
    assert decode_picture(data, max_pixels=24 * 16).shape == RGB.shape


@pytest.mark.parametrize("size", [(40, 56), (57, 40), (33, 33), (300, 91), (20, 64), (64, 20)])
@pytest.mark.parametrize("resize", [40, None, 33])
def test_the_crop_is_torchvisions(size: tuple[int, int], resize: int | None) -> None:
    pixels = photo_like(*size, seed=2)
    image = Image.fromarray(pixels)
    if resize is not None:
        image = functional.resize(image, [resize])
    expected = np.asarray(functional.center_crop(image, [32]))
    np.testing.assert_array_equal(centre_crop(pixels, resize, 32), expected)


def test_jpeg_files_are_written_as_asked() -> None:
    from dctafd.jpeg.quality import estimate_quality
    from dctafd.jpeg.reader import read

    jpeg = read(encode_jpeg(RGB, 31, "4:2:2"))
    assert (estimate_quality(jpeg).value, jpeg.subsampling) == (31, "4:2:2")
